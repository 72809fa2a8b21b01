//go:build e2e

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// standIns puts the stand-in in the place of what the tests need not be true to.
const standIns = `
services:
  evolution-openai-patch: {image: ` + image + `}
  evolution: {image: ` + standIn + `}
  redis: {image: ` + standIn + `, command: [pause]}
`

// stack is a compose project of a test's own.
type stack struct {
	t       *testing.T
	compose []string // the command up to the action
	project string
}

// eachCompose runs a test with every compose that there is: v1's docker-compose and the plugin of docker.
func eachCompose(t *testing.T, file string, test func(t *testing.T, s *stack), overrides ...string) {
	needImages(t)
	found := 0
	for _, compose := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if quietly(t, "sh", "-c", strings.Join(compose, " ")+" version").code != 0 {
			continue
		}
		found++
		t.Run(strings.Join(compose, " "), func(t *testing.T) {
			s := &stack{t: t, project: "evolution-openai-patch-e2e"}
			s.compose = append(compose, "-p", s.project, "-f", file)
			for i, override := range append(overrides, standIns) {
				s.compose = append(s.compose, "-f", write(t, filepath.Join(t.TempDir(), fmt.Sprint(i, ".yml")), override))
			}
			t.Cleanup(func() {
				if t.Failed() {
					s.run("logs", "--no-color")
				}
				s.run("down", "-v", "--remove-orphans").expect(t, 0)
			})
			test(t, s)
		})
	}
	if found == 0 {
		t.Fatal("no compose found: apt-get install docker-compose   (or https://docs.docker.com/compose/install)")
	}
}

func (s *stack) run(args ...string) outcome {
	s.t.Helper()
	if args[0] == "down" {
		noteLog(s.t, s.compose[0], append(slices.Clone(s.compose[1:]), "logs", "--no-color", service)...)
	}
	return command(s.t, s.compose[0], append(slices.Clone(s.compose[1:]), args...)...)
}

// must is run for what the rest of the test depends on.
func (s *stack) must(args ...string) {
	s.t.Helper()
	if o := s.run(args...); o.code != 0 {
		s.t.Fatalf("exit status %d\n%s", o.code, o.stderr)
	}
}

// container is the id of a service's container, running or not.
func (s *stack) container(service string) string {
	s.t.Helper()
	id := strings.TrimSpace(quietly(s.t, "docker", "ps", "-aq", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service="+service).stdout)
	if id == "" || strings.Contains(id, "\n") {
		s.t.Fatalf("service %s has the containers %q, want one", service, id)
	}
	return id
}

// inspect is what the engine knows of a service's container.
func (s *stack) inspect(service, format string) string {
	s.t.Helper()
	return docker(s.t, "inspect", "-f", format, s.container(service))
}

// sql asks the stack's database.
func (s *stack) sql(query string) string {
	s.t.Helper()
	return docker(s.t, "exec", s.container("postgres"), "psql", "-U", "evolution", "-d", "evolution", "-v", "ON_ERROR_STOP=1", "-qAtc", query)
}

// dump is the stack's database as SQL.
func (s *stack) dump() string {
	s.t.Helper()
	o := quietly(s.t, "docker", "exec", s.container("postgres"), "pg_dump", "-U", "evolution", "evolution")
	o.expect(s.t, 0)
	return restricted.ReplaceAllString(o.stdout, "")
}

// ready waits for the database alone.
func (s *stack) ready() {
	s.t.Helper()
	s.must("up", "-d", "postgres")
	healthy(s.t, s.container("postgres"))
}

// healthy waits for a container's health check.
func healthy(t *testing.T, container string) {
	t.Helper()
	eventually(t, func() error {
		if health := strings.TrimSpace(quietly(t, "docker", "inspect", "-f", "{{.State.Health.Status}}", container).stdout); health != "healthy" {
			return fmt.Errorf("%s is %s", container, health)
		}
		return nil
	})
}

// restore puts a database that was never patched in the place of the stack's, as a dump of it would be restored.
func (s *stack) restore() {
	s.t.Helper()
	d := evolution(s.t, "evolution_api")
	dump := strings.ReplaceAll(d.dump(), "OWNER TO postgres", "OWNER TO evolution")
	file := write(s.t, filepath.Join(s.t.TempDir(), "dump.sql"), `SET client_min_messages = error; DROP SCHEMA evolution_api CASCADE; `+dump)
	docker(s.t, "cp", file, s.container("postgres")+":/tmp/dump.sql")
	docker(s.t, "exec", s.container("postgres"), "psql", "-U", "evolution", "-d", "evolution", "-v", "ON_ERROR_STOP=1", "-1qAto", "/dev/null", "-f", "/tmp/dump.sql")
	if !strings.Contains(s.sql(apiKeyIndexes), "UNIQUE") {
		s.t.Fatal("the dump did not bring the unique index back")
	}
}

// shares registers one key for two instances through Evolution's statements, and lets it be refused for some time if that
// is how the stack works.
func (s *stack) shares(atOnce bool) {
	s.t.Helper()
	register := []string{"exec", s.container("evolution"), "/bin/evolution", "register"}
	if atOnce {
		docker(s.t, register...)
		return
	}
	eventually(s.t, func() error {
		if o := quietly(s.t, "docker", register...); o.code != 0 {
			return errors.New(o.stderr)
		}
		return nil
	})
}

const (
	apiKeyIndexes = `SELECT string_agg(indexdef, E'\n') FROM pg_indexes WHERE tablename = 'OpenaiCreds' AND indexdef LIKE '%("apiKey")'`
	sharing       = "two instances share one key" // the stand-in has registered it for both
	refused       = ": refused: "                 // and this it says of an instance that it could not
	ended         = "{{.State.Status}} {{.State.ExitCode}}"
	started       = "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}"
)

// One `up` on an empty volume is enough; so is one after anything that undoes the patch.
func TestE2EComposeExample(t *testing.T) {
	eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		s.startedInOrder("guarded: ")

		before := s.inspect("postgres", started) + s.inspect("evolution", started) + s.sql(apiKeyIndexes)
		s.must("up", "-d")
		says(t, s.container(service), "changed=false")
		if after := s.inspect("postgres", started) + s.inspect("evolution", started) + s.sql(apiKeyIndexes); after != before {
			t.Errorf("a second up changed\n%s\nto\n%s", before, after)
		}
		s.shares(true)

		s.must("down") // the volume stays
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		s.startedInOrder("patched: ")

		s.must("stop", "evolution")
		s.restore()
		s.must("up", "-d")
		says(t, s.container(service), "changed=true")
		s.shares(true)
	})
}

// startedInOrder requires that the patch ended well, that Evolution started only then, and that it took every key at once.
func (s *stack) startedInOrder(says string) {
	s.t.Helper()
	if o := quietly(s.t, "docker", "logs", s.container(service)); !strings.Contains(o.stdout, says) {
		s.t.Errorf("the patch says\n%s%s, not %q", o.stderr, o.stdout, says)
	}
	if state := s.inspect(service, ended); state != "exited 0" {
		s.t.Errorf("the patch is %s", state)
	}
	if patched, up := s.inspect(service, "{{.State.FinishedAt}}"), s.inspect("evolution", "{{.State.StartedAt}}"); patched > up {
		s.t.Errorf("Evolution started at %s, before the patch was done at %s", up, patched)
	}
	if o := quietly(s.t, "docker", "logs", s.container("evolution")); strings.Contains(o.stderr, refused) {
		s.t.Errorf("Evolution refused the key at first:\n%s", o.stderr)
	}
	if restarts := s.inspect("evolution", "{{.RestartCount}}"); restarts != "0" {
		s.t.Errorf("Evolution restarted %s times", restarts)
	}
}

// Beside a patch that stays, nothing has to be started again: not even after a restore under the running Evolution.
func TestE2EComposeWatch(t *testing.T) {
	eachCompose(t, "deploy/compose.watch.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		before := s.inspect(service, started) + s.inspect("evolution", started)
		s.restore()
		s.shares(false)
		if after := s.inspect(service, started) + s.inspect("evolution", started); after != before {
			t.Errorf("something was started again: %s, then %s", before, after)
		}
		healthy(t, s.container(service))

		s.must("down") // the volume stays
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		began := time.Now()
		docker(t, "stop", "-t", "10", s.container(service))
		if took, state := time.Since(began), s.inspect(service, ended); took > 1500*time.Millisecond || state != "exited 0" {
			t.Errorf("stopped, it is %s after %v", state, took)
		}
	})
}

// templates has the fields of Portainer's format that are used.
type templates struct {
	Version   string
	Templates []struct {
		ID, Type                                  int
		Title, Description, Note, Platform, Image string
		RestartPolicy                             string `json:"restart_policy"`
		Categories                                []string
		Env                                       []struct {
			Name, Label, Description, Default string
			Select                            []struct {
				Text, Value string
				Default     bool
			}
		}
	}
}

// The Portainer template is for an Evolution that runs already.
func TestE2EPortainerTemplate(t *testing.T) {
	eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		file, err := os.Open("deploy/portainer-template.json")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var list templates
		decoder := json.NewDecoder(file)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&list); err != nil {
			t.Fatal(err)
		}
		s.ready()
		s.must("up", "-d", "--no-deps", "evolution")
		says(t, s.container("evolution"), "two: refused")

		template := list.Templates[0]
		run := []string{"run", "-d", "--network", s.project + "_default", "--restart", template.RestartPolicy}
		for _, e := range template.Env {
			value := e.Default
			for _, choice := range e.Select {
				if choice.Default {
					value = choice.Value
				}
			}
			if e.Name == "DATABASE_CONNECTION_URI" {
				value = exampleURI
			}
			run = append(run, "-e", e.Name+"="+value)
		}
		if template.Image != service+":latest" {
			t.Fatalf("the template's image is %s", template.Image)
		}
		id := docker(t, append(run, image)...)
		defer remove(t, id)
		says(t, s.container("evolution"), sharing)
	})
}

func TestE2EComposeIsHardened(t *testing.T) {
	eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d", service)
		got := s.inspect(service, "user {{.Config.User}}, read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.SecurityOpt}}, "+
			"{{.HostConfig.Memory}} bytes, {{.HostConfig.PidsLimit}} processes, restart {{.HostConfig.RestartPolicy.Name}}")
		want := "user 65532:65532, read-only true, without [ALL], [no-new-privileges:true], 33554432 bytes, 64 processes, restart no"
		if got != want {
			t.Errorf("the patch runs as %s, want %s", got, want)
		}
		says(t, s.container(service), "guarded: ")
	})
}

// What keeps the patch from working keeps Evolution down, and says why.
func TestE2EComposeKeepsEvolutionDown(t *testing.T) {
	t.Run("wrong password", func(t *testing.T) {
		eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
			s.staysDown(1, "password authentication failed")
		}, `{services: {evolution-openai-patch: {environment: {DATABASE_CONNECTION_URI: "postgresql://evolution:`+url.QueryEscape(password)+`@postgres:5432/evolution?schema=evolution_api"}}}}`)
	})
	t.Run("refused", func(t *testing.T) {
		eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
			s.ready()
			s.sql(`CREATE SCHEMA evolution_api CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY, name text UNIQUE, "apiKey" text, "updatedAt" timestamp, "instanceId" text)
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`)
			before := s.dump()
			s.staysDown(3, "something else")
			if s.dump() != before {
				t.Error("it changed something")
			}
		})
	})
}

func (s *stack) staysDown(code int, words string) {
	s.t.Helper()
	if o := s.run("up", "-d"); o.code == 0 {
		s.t.Error("up succeeds")
	}
	says(s.t, s.container(service), words)
	if state := s.inspect(service, ended); state != fmt.Sprint("exited ", code) {
		s.t.Errorf("the patch is %s, want exited %d", state, code)
	}
	if id := quietly(s.t, "docker", "ps", "-q", "--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service=evolution").stdout; id != "" {
		s.t.Error("Evolution runs")
	}
}
