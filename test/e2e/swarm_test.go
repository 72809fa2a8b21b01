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

// swarmStandIns changes the images in deploy/swarm.yml, and the names that may exist in the user's swarm. Virtual addresses
// are not used because they need a kernel module that is not always there.
const swarmStandIns = `
version: "3.8"
services:
  evolution-openai-patch:
    image: ` + image + `
    deploy: {endpoint_mode: dnsrr}
  evolution:
    image: ` + standIn + `
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

// Swarm starts all services at once, so either may be first.
func TestE2ESwarm(t *testing.T) {
	buildImages(t)
	startSwarm(t)
	t.Setenv("DATABASE_CONNECTION_URI", exampleURI)
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
				"-e", "POSTGRES_USER=evolution", "-e", "POSTGRES_PASSWORD="+pgtest.ExamplePassword, "-e", "POSTGRES_DB=evolution", "postgres:17")
			defer docker(t, "rm", "-fv", postgres)
			overrides := write(t, filepath.Join(t.TempDir(), "overrides.yml"), swarmStandIns)
			later := write(t, filepath.Join(t.TempDir(), "later.yml"),
				fmt.Sprintf(`{version: "3.8", services: {%s: {deploy: {placement: {constraints: ["%s"]}}}}}`, order.second, notYet))
			defer removeStack(t, service)
			docker(t, "stack", "deploy", "--resolve-image", "never", "-c", "deploy/swarm.yml", "-c", overrides, "-c", later, e2eProject)
			serviceSays(t, order.first, order.says)
			docker(t, "service", "update", "-d", "--constraint-rm", notYet, e2eProject+"_"+order.second)
			if log := serviceSays(t, "evolution", sharing); order.first == service && strings.Contains(log, refused) {
				t.Errorf("Evolution refused the key at first:\n%s", log)
			}
			serviceSays(t, service, "watching")
			container := docker(t, "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+e2eProject+"_"+service)
			got := docker(t, "inspect", "-f", "{{.Config.User}} read-only {{.HostConfig.ReadonlyRootfs}}, without {{.HostConfig.CapDrop}}, {{.HostConfig.Memory}} bytes", container)
			if want := "65532:65532 read-only true, without [ALL], 67108864 bytes"; got != want {
				t.Errorf("the program runs as %s, want %s", got, want)
			}
			healthy(t, container)
		})
	}
}

// startSwarm makes the engine a swarm if it is none, with the network of the tests. Both are undone when the test ends.
//
// A new swarm is made over again as long as no container can be attached to its network: the engine gives that up after
// 20 seconds ("attaching to network failed: context deadline exceeded"), and at times a swarm never gets out of this state.
func startSwarm(t *testing.T) {
	t.Helper()
	made := docker(t, "info", "-f", "{{.Swarm.LocalNodeState}}") != "active"
	if made {
		docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1")
		t.Cleanup(func() { docker(t, "swarm", "leave", "--force") })
	}
	createNetwork(t)
	t.Cleanup(func() { removeNetwork(t) })
	for remade := 0; made && runCommand(t, "docker", "run", "--rm", "--network", e2eProject, image, "version").Code != 0; remade++ {
		if remade == 4 {
			t.Fatal("no container can be attached to a network of this engine's swarm")
		}
		removeNetwork(t)
		docker(t, "swarm", "leave", "--force")
		docker(t, "swarm", "init", "--advertise-addr", "127.0.0.1")
		createNetwork(t)
	}
}

// createNetwork creates the network of the tests. One of the same name that was just removed is there for a moment longer.
func createNetwork(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		if o := runCommand(t, "docker", "network", "create", "--driver", "overlay", "--attachable", e2eProject); o.Code != 0 {
			return errors.New(o.Stderr)
		}
		return nil
	})
}

// removeNetwork removes the network of the tests, which tasks and containers leave a moment after they have ended.
func removeNetwork(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		if o := runQuietly(t, "docker", "network", "rm", e2eProject); o.Code != 0 {
			return errors.New(o.Stderr)
		}
		return nil
	})
}

// removeStack removes the stack and waits until no container of it is left. The program is this service of the stack.
func removeStack(t *testing.T, service string) {
	// "service logs" fails for a task that was replaced while it waited for its node.
	for _, container := range strings.Fields(docker(t, "ps", "-aq", "--filter", "label=com.docker.swarm.service.name="+e2eProject+"_"+service)) {
		recordLog(t, "docker", "logs", container)
	}
	docker(t, "stack", "rm", e2eProject)
	eventually(t, func() error {
		if o := runQuietly(t, "docker", "ps", "-aq", "--filter", "label=com.docker.stack.namespace="+e2eProject); o.Stdout != "" {
			return errors.New("containers are left: " + o.Stdout)
		}
		return nil
	})
}

// serviceSays waits until a service of the stack has logged words, and returns its log.
func serviceSays(t *testing.T, name, words string) (log string) {
	t.Helper()
	eventually(t, func() error {
		o := runQuietly(t, "docker", "service", "logs", "--raw", e2eProject+"_"+name)
		log = o.Stdout + o.Stderr
		if !strings.Contains(log, words) {
			return errors.New(name + " did not log " + words + ":\n" + log + runQuietly(t, "docker", "service", "ps", "--no-trunc", e2eProject+"_"+name).Stdout)
		}
		return nil
	})
	return log
}
