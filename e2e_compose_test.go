//go:build e2e

package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// standIns puts the stand-in in the place of what the tests need not be true to.
const standIns = `
services:
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
	eventually(s.t, func() error {
		if health := quietly(s.t, "docker", "inspect", "-f", "{{.State.Health.Status}}", s.container("postgres")); strings.TrimSpace(health.stdout) != "healthy" {
			return fmt.Errorf("PostgreSQL is %s", health.stdout)
		}
		return nil
	})
}

const ended = "{{.State.Status}} {{.State.ExitCode}}"

func TestE2EComposeStartsEvolutionAfterThePatch(t *testing.T) {
	eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d")
		says(t, s.container("evolution"), "migrated")
		s.must("down") // the volume stays
		s.must("up", "-d")
		says(t, s.container(image), "patched: ")
		if state := s.inspect(image, ended); state != "exited 0" {
			t.Errorf("the patch is %s", state)
		}
		if patched, started := s.inspect(image, "{{.State.FinishedAt}}"), s.inspect("evolution", "{{.State.StartedAt}}"); patched > started {
			t.Errorf("Evolution started at %s, before the patch was done at %s", started, patched)
		}

		containers := func() string {
			return s.inspect("postgres", "{{.Id}} {{.State.StartedAt}}") + s.inspect("evolution", "{{.Id}} {{.State.StartedAt}}")
		}
		before, database := containers(), s.sql(`SELECT string_agg(indexdef, ' ' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'OpenaiCreds'`)
		if strings.Contains(database, `UNIQUE INDEX "OpenaiCreds_apiKey_key"`) {
			t.Errorf("the unique index is still there: %s", database)
		}
		s.must("up", "-d")
		says(t, s.container(image), "changed=false")
		if after := containers(); after != before {
			t.Errorf("a second up changed the containers: %s, then %s", before, after)
		}
	})
}

func TestE2EComposeIsHardened(t *testing.T) {
	eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d", image)
		got := s.inspect(image, "user {{.Config.User}}, read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.SecurityOpt}}, "+
			"{{.HostConfig.Memory}} bytes, {{.HostConfig.PidsLimit}} processes, restart {{.HostConfig.RestartPolicy.Name}}")
		want := "user 65532:65532, read-only true, without [ALL], [no-new-privileges:true], 33554432 bytes, 64 processes, restart no"
		if got != want {
			t.Errorf("the patch runs as %s, want %s", got, want)
		}
		says(t, s.container(image), "changed=false")
	})
}

// What keeps the patch from working keeps Evolution down, and says why.
func TestE2EComposeKeepsEvolutionDown(t *testing.T) {
	t.Run("wrong password", func(t *testing.T) {
		eachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
			s.staysDown(1, "password authentication failed")
		}, `{services: {evolution-openai-patch: {environment: {DATABASE_CONNECTION_URI: "postgresql://evolution:wrong@postgres:5432/evolution?schema=evolution_api"}}}}`)
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
	says(s.t, s.container(image), words)
	if state := s.inspect(image, ended); state != fmt.Sprint("exited ", code) {
		s.t.Errorf("the patch is %s, want exited %d", state, code)
	}
	if id := quietly(s.t, "docker", "ps", "-q", "--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service=evolution").stdout; id != "" {
		s.t.Error("Evolution runs")
	}
}
