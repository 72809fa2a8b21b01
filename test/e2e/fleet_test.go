//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

const (
	fleetFile    = "deploy/compose.fleet.yml"
	fleetService = service + "-fleet"
)

// A server is a PostgreSQL server with a database for each stack, on a network that the stacks share.
type server struct {
	t         *testing.T
	container string
}

// setFleetVariables sets the variables of the file to the server and the network of the tests.
func setFleetVariables(t *testing.T) {
	t.Setenv("FLEET_DATABASE_URI", (&server{}).uri("postgres"))
	t.Setenv("FLEET_NETWORK", e2eProject)
}

// startServer starts a server on the network of the tests, where it has the name postgres.
func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{t, docker(t, "run", "-d", "--network", e2eProject, "--network-alias", "postgres",
		"-e", "POSTGRES_USER=postgres", "-e", "POSTGRES_PASSWORD="+pgtest.ExamplePassword, "postgres:17")}
	t.Cleanup(func() { docker(t, "rm", "-fv", s.container) })
	eventually(t, func() error {
		if o := runQuietly(t, "docker", "exec", s.container, "pg_isready", "-h", "127.0.0.1"); o.Code != 0 {
			return errors.New(o.Stdout + o.Stderr)
		}
		return nil
	})
	return s
}

func (s *server) uri(database string) string {
	return "postgresql://postgres:" + pgtest.ExamplePassword + "@postgres:5432/" + database
}

// sql runs SQL in a database and returns the result.
func (s *server) sql(database, query string) string {
	s.t.Helper()
	return docker(s.t, "exec", s.container, "psql", "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", query)
}

// dump returns a database as SQL.
func (s *server) dump(database string) string {
	s.t.Helper()
	o := runQuietly(s.t, "docker", "exec", s.container, "pg_dump", "-U", "postgres", database)
	o.Expect(s.t, 0)
	return pgtest.StripRestrict(o.Stdout)
}

// addEvolution creates a database and starts an Evolution that uses it. It returns the container.
func (s *server) addEvolution(database string) (container string) {
	s.t.Helper()
	s.sql("postgres", "CREATE DATABASE "+database)
	container = docker(s.t, "run", "-d", "--network", e2eProject, "-e", "DATABASE_CONNECTION_URI="+s.uri(database), standIn)
	s.t.Cleanup(func() { docker(s.t, "rm", "-f", container) })
	return container
}

// addOthers creates a database of another program, and one whose index has been replaced by hand. It returns both as SQL.
func (s *server) addOthers() (dumps func() string) {
	s.t.Helper()
	for _, database := range []string{"evolution_go_x", "evolution_by_hand"} {
		s.sql("postgres", "CREATE DATABASE "+database)
	}
	s.sql("evolution_go_x", `CREATE TABLE instances (id text PRIMARY KEY, "apiKey" text UNIQUE)`)
	s.sql("evolution_by_hand", `CREATE TABLE "OpenaiCreds" (id text PRIMARY KEY, name text UNIQUE, "apiKey" text, "updatedAt" timestamp, "instanceId" text);
		CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`)
	return func() string { return s.dump("evolution_go_x") + s.dump("evolution_by_hand") }
}

// expectService requires that the program patches the databases that are there and one that is created later, that it leaves
// the others alone, and that it is healthy all the same.
func (s *server) expectService(start func() (container string)) (container string) {
	s.t.Helper()
	others := s.addOthers()
	before := others()
	evolutions := []string{s.addEvolution("evolution"), s.addEvolution("evolution_x")}
	for _, evolution := range evolutions {
		says(s.t, evolution, "two: refused")
	}
	container = start()
	for _, evolution := range append(evolutions, s.addEvolution("evolution_x_v2")) {
		says(s.t, evolution, sharing)
	}
	healthy(s.t, container)
	status := runCommand(s.t, "docker", "exec", container, "/"+service, "status")
	status.Expect(s.t, 0, "patched: postgres:5432/evolution schema=public", "patched: postgres:5432/evolution_x schema=public", "patched: postgres:5432/evolution_x_v2 schema=public",
		"failed: postgres:5432/evolution_by_hand", "something else", "done: 3 patched, 1 failed, 2 databases without the table")
	pgtest.Record(status)
	if n := strings.Count(status.Stdout, "\n"); n != 4 {
		s.t.Errorf("the report has %d lines, want 4", n)
	}
	if others() != before {
		s.t.Error("a database that is not Evolution's was changed")
	}
	return container
}

// One service beside a server patches every stack's database, under names that overwrite nothing.
func TestE2EComposeFleet(t *testing.T) {
	buildImages(t)
	setFleetVariables(t)
	docker(t, "network", "create", e2eProject)
	t.Cleanup(func() { docker(t, "network", "rm", e2eProject) })
	override := fmt.Sprintf("{version: '3.8', services: {%s: {image: %s}}}", fleetService, image)
	forEachComposeOf(t, fleetFile, fleetService, func(t *testing.T, s *stack) {
		container := startServer(t).expectService(func() string {
			s.must("up", "-d")
			return s.container(fleetService)
		})
		got := docker(t, "inspect", "-f", "user {{.Config.User}}, read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.SecurityOpt}}, "+
			"{{.HostConfig.Memory}} bytes, restart {{.HostConfig.RestartPolicy.Name}}", container)
		if want := "user 65532:65532, read-only true, without [ALL], [no-new-privileges:true], 67108864 bytes, restart unless-stopped"; got != want {
			t.Errorf("the program runs as %s, want %s", got, want)
		}
	}, override)
}

// The same file is a stack for Swarm.
func TestE2ESwarmFleet(t *testing.T) {
	buildImages(t)
	startSwarm(t)
	setFleetVariables(t)
	s := startServer(t)
	override := write(t, filepath.Join(t.TempDir(), "overrides.yml"),
		fmt.Sprintf("{version: '3.8', services: {%s: {image: %s, deploy: {endpoint_mode: dnsrr}}}}", fleetService, image))
	t.Cleanup(func() { removeStack(t, fleetService) })
	container := s.expectService(func() string {
		docker(t, "stack", "deploy", "--resolve-image", "never", "-c", fleetFile, "-c", override, e2eProject)
		serviceSays(t, fleetService, "watching")
		return docker(t, "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+e2eProject+"_"+fleetService)
	})
	got := docker(t, "inspect", "-f", "{{.Config.User}} read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.Memory}} bytes", container)
	if want := "65532:65532 read-only true, without [ALL], 67108864 bytes"; got != want {
		t.Errorf("the program runs as %s, want %s", got, want)
	}
}
