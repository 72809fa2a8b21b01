//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// standIns replaces the images of compose.example.yml by those that the tests build.
const standIns = `
services:
  evolution-openai-patch: {image: ` + image + `}
  evolution: {image: ` + standIn + `}
  redis: {image: ` + standIn + `, command: [pause]}
`

var projects atomic.Int32 // compose projects so far

// A stack is a compose project of one test's own.
type stack struct {
	t       *testing.T
	compose []string // the command without its action
	project string
	service string // the program's
}

// forEachCompose runs a test of a file that holds Evolution, too, with each compose that is installed.
func forEachCompose(t *testing.T, file string, test func(t *testing.T, s *stack), overrides ...string) {
	forEachComposeOf(t, file, service, test, append(overrides, standIns)...)
}

// forEachComposeOf runs a test with each compose that is installed: docker-compose, and the plugin of docker. The program is
// this service of the file.
func forEachComposeOf(t *testing.T, file, service string, test func(t *testing.T, s *stack), overrides ...string) {
	buildImages(t)
	found := 0
	for _, compose := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if runQuietly(t, "sh", "-c", strings.Join(compose, " ")+" version").Code != 0 {
			continue
		}
		found++
		t.Run(strings.Join(compose, " "), func(t *testing.T) {
			s := &stack{t: t, project: fmt.Sprintf("%s-%d", e2eProject, projects.Add(1)), service: service}
			s.compose = append(compose, "-p", s.project, "-f", file)
			for i, override := range overrides {
				s.compose = append(s.compose, "-f", write(t, filepath.Join(t.TempDir(), fmt.Sprint(i, ".yml")), override))
			}
			t.Cleanup(func() {
				if t.Failed() {
					s.run("logs", "--no-color")
				}
				s.run("down", "-v", "--remove-orphans").Expect(t, 0)
			})
			test(t, s)
		})
	}
	if found == 0 {
		t.Fatal("no compose found: apt-get install docker-compose   (or https://docs.docker.com/compose/install)")
	}
}

func (s *stack) run(args ...string) pgtest.Outcome {
	s.t.Helper()
	if args[0] == "down" {
		recordLog(s.t, s.compose[0], append(slices.Clone(s.compose[1:]), "logs", "--no-color", s.service)...)
	}
	return runCommand(s.t, s.compose[0], append(slices.Clone(s.compose[1:]), args...)...)
}

// must calls run. The test fails at once if the command does.
func (s *stack) must(args ...string) {
	s.t.Helper()
	if o := s.run(args...); o.Code != 0 {
		s.t.Fatalf("exit status %d\n%s", o.Code, o.Stderr)
	}
}

// container returns the id of a service's container, which need not run.
func (s *stack) container(service string) string {
	s.t.Helper()
	id := strings.TrimSpace(runQuietly(s.t, "docker", "ps", "-aq", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service="+service).Stdout)
	if id == "" || strings.Contains(id, "\n") {
		s.t.Fatalf("service %s has the containers %q, want one", service, id)
	}
	return id
}

// inspect returns what the engine says about a service's container.
func (s *stack) inspect(service, format string) string {
	s.t.Helper()
	return docker(s.t, "inspect", "-f", format, s.container(service))
}

// sql runs SQL in the stack's database and returns the result.
func (s *stack) sql(query string) string {
	s.t.Helper()
	return docker(s.t, "exec", s.container("postgres"), "psql", "-U", "evolution", "-d", "evolution", "-v", "ON_ERROR_STOP=1", "-qAtc", query)
}

// dump returns the stack's database as SQL.
func (s *stack) dump() string {
	s.t.Helper()
	o := runQuietly(s.t, "docker", "exec", s.container("postgres"), "pg_dump", "-U", "evolution", "evolution")
	o.Expect(s.t, 0)
	return pgtest.StripRestrict(o.Stdout)
}

// ready starts the database alone and waits until it accepts connections.
func (s *stack) ready() {
	s.t.Helper()
	s.must("up", "-d", "postgres")
	healthy(s.t, s.container("postgres"))
}

// healthy waits until a container's health check succeeds.
func healthy(t *testing.T, container string) {
	t.Helper()
	eventually(t, func() error {
		if health := strings.TrimSpace(runQuietly(t, "docker", "inspect", "-f", "{{.State.Health.Status}}", container).Stdout); health != "healthy" {
			return fmt.Errorf("%s is %s", container, health)
		}
		return nil
	})
}

// restore replaces the stack's database by the dump of an unpatched one.
func (s *stack) restore() {
	s.t.Helper()
	d := pgtest.NewEvolution(s.t, "evolution_api")
	dump := strings.ReplaceAll(d.Dump(), "OWNER TO postgres", "OWNER TO evolution")
	if !strings.Contains(dump, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key"`) {
		s.t.Fatal("the dump has no unique index") // which a watch may drop as soon as it is there
	}
	file := write(s.t, filepath.Join(s.t.TempDir(), "dump.sql"), `SET client_min_messages = error; DROP SCHEMA evolution_api CASCADE; `+dump)
	docker(s.t, "cp", file, s.container("postgres")+":/tmp/dump.sql")
	docker(s.t, "exec", s.container("postgres"), "psql", "-U", "evolution", "-d", "evolution", "-v", "ON_ERROR_STOP=1", "-1qAto", "/dev/null", "-f", "/tmp/dump.sql")
}

// shares registers one key in two instances with Evolution's statements. Unless atOnce is set it may be refused at first.
func (s *stack) shares(atOnce bool) {
	s.t.Helper()
	register := []string{"exec", s.container("evolution"), "/bin/evolution", "register"}
	if atOnce {
		docker(s.t, register...)
		return
	}
	eventually(s.t, func() error {
		if o := runQuietly(s.t, "docker", register...); o.Code != 0 {
			return errors.New(o.Stderr)
		}
		return nil
	})
}

// startedInOrder requires that the program succeeded, that Evolution started only then and that no key was refused.
func (s *stack) startedInOrder(says string) {
	s.t.Helper()
	if o := runQuietly(s.t, "docker", "logs", s.container(service)); !strings.Contains(o.Stdout, says) {
		s.t.Errorf("the program printed\n%s%s, want %q", o.Stderr, o.Stdout, says)
	}
	if state := s.inspect(service, ended); state != "exited 0" {
		s.t.Errorf("the program is %s, want exited 0", state)
	}
	if patched, up := s.inspect(service, "{{.State.FinishedAt}}"), s.inspect("evolution", "{{.State.StartedAt}}"); patched > up {
		s.t.Errorf("Evolution started at %s, before the program ended at %s", up, patched)
	}
	if o := runQuietly(s.t, "docker", "logs", s.container("evolution")); strings.Contains(o.Stderr, refused) {
		s.t.Errorf("Evolution refused the key at first:\n%s", o.Stderr)
	}
	if restarts := s.inspect("evolution", "{{.RestartCount}}"); restarts != "0" {
		s.t.Errorf("Evolution restarted %s times", restarts)
	}
}

// staysDown requires that the program exits with a status and logs words, and that Evolution does not run.
func (s *stack) staysDown(code int, words string) {
	s.t.Helper()
	if o := s.run("up", "-d"); o.Code == 0 {
		s.t.Error("up succeeds")
	}
	says(s.t, s.container(service), words)
	if state := s.inspect(service, ended); state != fmt.Sprint("exited ", code) {
		s.t.Errorf("the program is %s, want exited %d", state, code)
	}
	if id := runQuietly(s.t, "docker", "ps", "-q", "--filter", "label=com.docker.compose.project="+s.project, "--filter", "label=com.docker.compose.service=evolution").Stdout; id != "" {
		s.t.Error("Evolution runs")
	}
}
