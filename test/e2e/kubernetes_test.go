//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// apply runs the pod of a manifest's Deployment against a database and returns the pod's name.
func (n *node) apply(t *testing.T, manifest string, d *pgtest.Database) (pod string) {
	t.Helper()
	return n.applyPod(t, manifest, "Deployment", "evolution-shared-key", map[string]string{"DATABASE_CONNECTION_URI": d.URI(), "AUTHENTICATION_API_KEY": "any"})
}

// applyPod runs the pod of a manifest's object of this kind, with these values in the Secret, and returns the pod's name.
func (n *node) applyPod(t *testing.T, manifest, kind, secret string, values map[string]string) (pod string) {
	t.Helper()
	n.applied++
	pod = fmt.Sprint(strings.ToLower(kind), "-", n.applied)
	folder := filepath.Join(n.dir, "secrets", pod, secret)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for key, value := range values {
		write(t, filepath.Join(folder, key), value)
	}
	o := runQuietly(t, "go", "run", "-C", "test/testdata/e2e/pod", ".", pgtest.Root(manifest), kind, pod, image, standIn, folder)
	if o.Expect(t, 0); t.Failed() {
		t.FailNow()
	}
	t.Logf("%s decodes strictly; the pod of its %s on a kubelet:", manifest, kind)
	write(t, filepath.Join(n.dir, "manifests", pod+".json"), o.Stdout)
	return pod
}

// become waits until the containers of the program and of Evolution have these states, and logs their output.
func (n *node) become(t *testing.T, pod, patched, evolution string) {
	t.Helper()
	eventually(t, func() error {
		states, err := n.pods()
		if !strings.Contains(states[pod+"/"+service], patched) || states[pod+"/evolution"] != evolution {
			return fmt.Errorf("want %s and %s: %v %v", patched, evolution, states, err)
		}
		return nil
	})
	pgtest.Record(pgtest.Outcome{Stdout: n.logs(pod, service)})
	for _, container := range []string{service, "evolution"} {
		t.Logf("%s:\n%s", container, n.logs(pod, container))
	}
}

func TestE2EKubernetes(t *testing.T) {
	n := startNode(t)
	t.Run("init container, existing database", func(t *testing.T) {
		pod := n.apply(t, "deploy/kubernetes.yaml", pgtest.NewEvolution(t, "public"))
		n.says(t, pod, "evolution", sharing)
		n.become(t, pod, "exited 0, ready", "running, ready")
		if text := n.logs(pod, service); !strings.Contains(text, "changed=true") {
			t.Error("the program changed nothing")
		}
		if strings.Contains(n.logs(pod, "evolution"), refused) {
			t.Error("Evolution refused the key at first")
		}
	})
	t.Run("init container, fresh database", func(t *testing.T) {
		pod := n.apply(t, "deploy/kubernetes.yaml", pgtest.NewDatabase(t, "public"))
		n.says(t, pod, "evolution", sharing)
		n.become(t, pod, "exited 0, ready", "running, ready")
		if text := n.logs(pod, service); !strings.Contains(text, "guarded: ") {
			t.Error("the program installed no guard")
		}
		if strings.Contains(n.logs(pod, "evolution"), refused) {
			t.Error("Evolution refused the key at first")
		}
	})
	t.Run("init container, failing", func(t *testing.T) {
		d := pgtest.NewEvolution(t, "public")
		d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
		d.Exec(`CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`)
		pod := n.apply(t, "deploy/kubernetes.yaml", d)
		n.become(t, pod, "tried again after exit 3", "waiting")
	})
	t.Run("sidecar, fresh database", func(t *testing.T) {
		pod := n.apply(t, "deploy/kubernetes.sidecar.yaml", pgtest.NewDatabase(t, "public"))
		n.says(t, pod, "evolution", sharing)
		n.become(t, pod, "running, ready", "running, ready")
	})
}

const fleetManifest, fleetSecret = "deploy/kubernetes.fleet.yaml", "evolution-openai-patch-fleet"

func TestE2EKubernetesFleet(t *testing.T) {
	n := startNode(t)
	if manifest, err := os.ReadFile(pgtest.Root(fleetManifest)); err != nil || !strings.Contains(string(manifest), "create secret generic "+fleetSecret+" ") {
		t.Errorf("%s does not say how to create its Secret: %v", fleetManifest, err)
	}
	t.Run("CronJob, one server", func(t *testing.T) {
		s := pgtest.NewServer(t)
		patched := []*pgtest.Database{newStack(t, s), newStack(t, s)}
		other := s.NewDatabase(t, "public")
		other.Exec(`CREATE TABLE "Settings" ("apiKey" text UNIQUE)`)
		before := other.Dump()
		pod := n.applyPod(t, fleetManifest, "CronJob", fleetSecret, map[string]string{"server": s.URI("postgres", "")})
		n.finish(t, pod, 0)
		n.says(t, pod, service, "done: 2 patched (2 changed), 2 databases without the table")
		expectShared(t, patched...)
		other.ExpectDump(before)
	})
	t.Run("Job, several servers", func(t *testing.T) {
		one, two := pgtest.NewServer(t), pgtest.NewServer(t)
		patched := []*pgtest.Database{newStack(t, one), newStack(t, two), newStack(t, two)}
		unknown := newStack(t, one)
		unknown.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
		unknown.Exec(`CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`)
		pod := n.applyPod(t, fleetManifest, "Job", fleetSecret, map[string]string{"servers": one.URI("postgres", "") + "\n" + two.URI("postgres", "") + "\n"})
		message := n.finish(t, pod, 3)
		if want := "done: 3 patched (3 changed), 1 failed, 2 databases without the table"; !strings.Contains(message, want) {
			t.Errorf("the pod's message is %q, want %q in it", message, want)
		}
		expectShared(t, patched...)
	})
}

// newStack creates a database as Evolution leaves it on a server.
func newStack(t *testing.T, s *pgtest.Server) *pgtest.Database {
	t.Helper()
	d := s.NewDatabase(t, "public")
	d.Migrate(pgtest.Last)
	d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
	return d
}

// expectShared requires that two instances can have one key in each of the databases.
func expectShared(t *testing.T, databases ...*pgtest.Database) {
	t.Helper()
	for _, d := range databases {
		for _, instance := range []string{"i1", "i2"} {
			if code := d.Register("2.3.7", instance, "key of "+instance, pgtest.APIKey); code != 201 {
				t.Errorf("instance %s of %s: HTTP %d", instance, d.Name, code)
			}
		}
	}
}

// finish waits until the pod of a Job has exited with a status, and returns the message that the kubelet gives for it.
func (n *node) finish(t *testing.T, pod string, code int) (message string) {
	t.Helper()
	eventually(t, func() error {
		containers, err := n.list()
		state := containers[pod+"/"+service].State.Terminated
		if state == nil || state.ExitCode != code {
			return fmt.Errorf("the pod has not exited %d: %+v %v\n%s", code, state, err, n.logs(pod, service))
		}
		message = state.Message
		return nil
	})
	pgtest.Record(pgtest.Outcome{Stdout: n.logs(pod, service) + message})
	t.Logf("%s:\n%s", service, n.logs(pod, service))
	return message
}
