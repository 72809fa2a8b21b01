//go:build e2e

package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

const (
	apiKeyIndexes = `SELECT string_agg(indexdef, E'\n') FROM pg_indexes WHERE tablename = 'OpenaiCreds' AND indexdef LIKE '%("apiKey")'`
	sharing       = "two instances share one key" // the stand-in logs this when it has registered a key in both
	refused       = ": refused: "                 // the stand-in logs this when a key is refused
	ended         = "{{.State.Status}} {{.State.ExitCode}}"
	started       = "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}"
)

// `up` is enough on an empty volume, and after everything that undoes the patch.
func TestE2EComposeExample(t *testing.T) {
	t.Parallel()
	forEachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
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

// With a watching program nothing has to be restarted, not even after a restore while Evolution runs.
func TestE2EComposeWatch(t *testing.T) {
	t.Parallel()
	forEachCompose(t, "deploy/compose.watch.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		before := s.inspect(service, started) + s.inspect("evolution", started)
		s.restore()
		s.shares(false)
		if after := s.inspect(service, started) + s.inspect("evolution", started); after != before {
			t.Errorf("a container was restarted: %s, then %s", before, after)
		}
		healthy(t, s.container(service))

		s.must("down") // the volume stays
		s.must("up", "-d")
		says(t, s.container("evolution"), sharing)
		docker(t, "stop", "-t", "10", s.container(service)) // after which it would be killed
		if state := s.inspect(service, ended); state != "exited 0" {
			t.Errorf("the stopped program is %s", state)
		}
	})
}

// templates has the fields of Portainer's format that the template uses.
type templates struct {
	Version   string
	Templates []struct {
		ID, Type                                  int
		Title, Description, Note, Platform, Image string
		RestartPolicy                             string `json:"restart_policy"`
		Categories                                []string
		Env                                       []struct {
			Name, Label, Description, Default string
		}
	}
}

// The Portainer template works beside an Evolution that runs already.
func TestE2EPortainerTemplate(t *testing.T) {
	t.Parallel()
	forEachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		file, err := os.Open(pgtest.Root("deploy", "portainer-template.json"))
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
	t.Parallel()
	forEachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
		s.must("up", "-d", service)
		got := s.inspect(service, "user {{.Config.User}}, read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.SecurityOpt}}, "+
			"{{.HostConfig.Memory}} bytes, {{.HostConfig.PidsLimit}} processes, restart {{or .HostConfig.RestartPolicy.Name \"no\"}}")
		want := "user 65532:65532, read-only true, without [ALL], [no-new-privileges:true], 33554432 bytes, 64 processes, restart no"
		if got != want {
			t.Errorf("the program runs as %s, want %s", got, want)
		}
		says(t, s.container(service), "guarded: ")
	})
}

// The stacks for Portainer and Coolify, and a release's compose.example.yml in a folder without a clone, start in order on an empty
// volume.
func TestE2EStacksToPaste(t *testing.T) {
	t.Setenv("SERVICE_USER_POSTGRES", "evolution") // what Coolify generates
	t.Setenv("SERVICE_PASSWORD_POSTGRES", pgtest.ExamplePassword)
	t.Setenv("SERVICE_PASSWORD_AUTHENTICATIONAPIKEY", "any")
	t.Setenv("SERVICE_URL_EVOLUTION", "http://localhost")
	released := t.TempDir()
	mustRun(t, "scripts/render.sh", "registry.example.com/"+image+"@sha256:"+strings.Repeat("0", 64), released)
	for _, file := range []string{"deploy/portainer-stack.yml", "deploy/coolify.yml", released + "/compose.example.yml"} {
		t.Run(file, func(t *testing.T) {
			forEachCompose(t, file, func(t *testing.T, s *stack) {
				s.must("up", "-d")
				says(t, s.container("evolution"), sharing)
				s.startedInOrder("guarded: ")
			}, `{services: {postgres: {image: "postgres:17"}}}`)
		})
	}
}

// If the program fails, it says why, and Evolution does not start.
func TestE2EComposeKeepsEvolutionDown(t *testing.T) {
	t.Parallel()
	t.Run("wrong password", func(t *testing.T) {
		forEachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
			s.staysDown(1, "password authentication failed")
		}, `{services: {evolution-openai-patch: {environment: {DATABASE_CONNECTION_URI: "postgresql://evolution:`+url.QueryEscape(pgtest.Password)+`@postgres:5432/evolution?schema=evolution_api"}}}}`)
	})
	t.Run("refused", func(t *testing.T) {
		forEachCompose(t, "compose.example.yml", func(t *testing.T, s *stack) {
			s.ready()
			s.sql(`CREATE SCHEMA evolution_api CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY, name text UNIQUE, "apiKey" text, "updatedAt" timestamp, "instanceId" text)
				CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`)
			before := s.dump()
			s.staysDown(3, "something else")
			if s.dump() != before {
				t.Error("the database was changed")
			}
		})
	})
}
