//go:build e2e

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// swarmStandIns is what a test changes of deploy/swarm.yml: the images, and the names that may be taken in the user's
// swarm. Virtual addresses need a module that not every kernel has.
const swarmStandIns = `
version: "3.8"
services:
  evolution-openai-patch:
    image: ` + image + `
    deploy: {endpoint_mode: dnsrr}
  evolution:
    image: ` + standIn + `
    environment:
      DATABASE_CONNECTION_URI: ` + exampleURI + `
    deploy: {endpoint_mode: dnsrr}
  redis:
    image: ` + standIn + `
    command: [pause]
    deploy: {endpoint_mode: dnsrr}
networks:
  evolution: {external: true, name: ` + e2eProject + `}
secrets:
  evolution_database_uri: {external: true, name: ` + e2eProject + `}
`

// Swarm starts everything at once, so either order has to end well.
func TestE2ESwarm(t *testing.T) {
	needImages(t)
	if docker(t, "info", "-f", "{{.Swarm.LocalNodeState}}") != "active" {
		docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1")
		t.Cleanup(func() { docker(t, "swarm", "leave", "--force") })
	}
	docker(t, "network", "create", "--driver", "overlay", "--attachable", e2eProject)
	t.Cleanup(func() {
		eventually(t, func() error { // the tasks leave it a moment after their stack is gone
			if o := quietly(t, "docker", "network", "rm", e2eProject); o.code != 0 {
				return errors.New(o.stderr)
			}
			return nil
		})
	})
	secret := write(t, filepath.Join(t.TempDir(), "uri"), exampleURI)
	docker(t, "secret", "create", e2eProject, secret)
	t.Cleanup(func() { docker(t, "secret", "rm", e2eProject) })

	const notYet = "node.labels.evolution == later"
	for _, order := range []struct{ first, second, says string }{
		{service, "evolution", "state=guarded"},
		{"evolution", service, "two: refused"},
	} {
		t.Run(order.first+" first", func(t *testing.T) {
			postgres := docker(t, "run", "-d", "--network", e2eProject, "--network-alias", "postgres",
				"-e", "POSTGRES_USER=evolution", "-e", "POSTGRES_PASSWORD="+examplePassword, "-e", "POSTGRES_DB=evolution", "postgres:17")
			defer docker(t, "rm", "-fv", postgres)
			overrides := write(t, filepath.Join(t.TempDir(), "overrides.yml"), swarmStandIns)
			later := write(t, filepath.Join(t.TempDir(), "later.yml"),
				fmt.Sprintf(`{version: "3.8", services: {%s: {deploy: {placement: {constraints: ["%s"]}}}}}`, order.second, notYet))
			defer removeStack(t)
			docker(t, "stack", "deploy", "--resolve-image", "never", "-c", "deploy/swarm.yml", "-c", overrides, "-c", later, e2eProject)
			serviceSays(t, order.first, order.says)
			docker(t, "service", "update", "-d", "--constraint-rm", notYet, e2eProject+"_"+order.second)
			if log := serviceSays(t, "evolution", sharing); order.first == service && strings.Contains(log, refused) {
				t.Errorf("Evolution refused the key at first:\n%s", log)
			}
			serviceSays(t, service, "watching")
			container := docker(t, "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+e2eProject+"_"+service)
			got := docker(t, "inspect", "-f", "{{.Config.User}} read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.Memory}} bytes", container)
			if want := "65532:65532 read-only true, without [ALL], 33554432 bytes"; got != want {
				t.Errorf("the patch runs as %s, want %s", got, want)
			}
			healthy(t, container)
		})
	}
}

// removeStack returns when no container of the stack is left to meddle with the next one's database.
func removeStack(t *testing.T) {
	// Not "service logs": that fails for a task which was replaced while it waited for its node.
	for _, container := range strings.Fields(docker(t, "ps", "-aq", "--filter", "label=com.docker.swarm.service.name="+e2eProject+"_"+service)) {
		noteLog(t, "docker", "logs", container)
	}
	docker(t, "stack", "rm", e2eProject)
	eventually(t, func() error {
		if o := quietly(t, "docker", "ps", "-aq", "--filter", "label=com.docker.stack.namespace="+e2eProject); o.stdout != "" {
			return errors.New("containers are left: " + o.stdout)
		}
		return nil
	})
}

// serviceSays waits until a service of the stack has logged something, and returns all of its log.
func serviceSays(t *testing.T, name, words string) (log string) {
	t.Helper()
	eventually(t, func() error {
		o := quietly(t, "docker", "service", "logs", "--raw", e2eProject+"_"+name)
		log = o.stdout + o.stderr
		if !strings.Contains(log, words) {
			return errors.New(name + " never said " + words + ":\n" + log + quietly(t, "docker", "service", "ps", "--no-trunc", e2eProject+"_"+name).stdout)
		}
		return nil
	})
	return log
}
