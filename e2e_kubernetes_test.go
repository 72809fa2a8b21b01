//go:build e2e

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// node is a kubelet on a containerd, without a control plane: what lies in its folder manifests, runs.
type node struct {
	dir, port string
}

const kubeletConfig = `
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: %[1]s/manifests
podLogsDir: %[1]s/logs
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
address: 127.0.0.1
port: %[2]s
readOnlyPort: %[3]s
healthzPort: 0
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
enforceNodeAllocatable: []
evictionHard: {memory.available: 1Mi}
localStorageCapacityIsolation: false
fileCheckFrequency: 1s
`

const containerdConfig = `
version = 2
root = "%[1]s/containerd"
state = "%[1]s/state"
[grpc]
  address = "%[1]s/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + pauseImage + `"
  restrict_oom_score_adj = true # in a container, a sandbox may not lower its own
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

// startNode starts a kubelet that has the images and nothing to do. The end of the test ends it.
func startNode(t *testing.T) *node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a kubelet needs root: sudo -E env PATH=\"$PATH\" make e2e")
	}
	needImages(t)
	built := command(t, "testdata/e2e/kubelet.sh")
	built.expect(t, 0)
	dir, err := os.MkdirTemp("/tmp", "kubelet") // short: the path of a socket has room for 100 letters
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir, port: freePort()}
	for _, sub := range []string{"manifests", "logs"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { n.clean(t) }) // runs after the two are stopped
	n.run(t, "containerd", "-c", write(t, filepath.Join(dir, "containerd.toml"), fmt.Sprintf(containerdConfig, dir)))
	eventually(t, func() error {
		if o := quietly(t, "ctr", "-a", n.socket(), "version"); o.code != 0 {
			return errors.New(o.stderr)
		}
		return nil
	})
	write(t, filepath.Join(dir, "Dockerfile"), "FROM "+standIn+"\nCMD [\"pause\"]\n")
	docker(t, "build", "-q", "-t", pauseImage, "-f", filepath.Join(dir, "Dockerfile"), filepath.Join(dir, "manifests"))
	command(t, "sh", "-c", "docker save "+pauseImage+" "+standIn+" "+image+" | ctr -a "+n.socket()+" -n k8s.io images import -").expect(t, 0)

	n.run(t, strings.TrimSpace(built.stdout), "--root-dir", filepath.Join(dir, "kubelet"), "--hostname-override", "node",
		"--config", write(t, filepath.Join(dir, "kubelet.yaml"), fmt.Sprintf(kubeletConfig, dir, freePort(), n.port)))
	eventually(t, func() error { _, err := n.pods(); return err })
	t.Cleanup(func() { // while there is a kubelet that ends them
		manifests, _ := filepath.Glob(filepath.Join(dir, "manifests/*"))
		for _, m := range manifests {
			_ = os.Remove(m)
		}
		eventually(t, func() error {
			if o := quietly(t, "ctr", "-a", n.socket(), "-n", "k8s.io", "tasks", "ls", "-q"); o.stdout != "" {
				return errors.New("containers still run: " + o.stdout)
			}
			return nil
		})
	})
	return n
}

func (n *node) socket() string { return filepath.Join(n.dir, "containerd.sock") }

// run starts a program that the end of the test stops.
func (n *node) run(t *testing.T, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(n.dir, filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // even where the tests end without cleaning up
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: apt-get install containerd", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", quietly(t, "tail", "-n", "20", log.Name()).stdout)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
	})
}

// clean removes what the kubelet and containerd leave mounted, and the folder.
func (n *node) clean(t *testing.T) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(mounts)) {
		if point := strings.Fields(line)[1]; strings.HasPrefix(point, n.dir+"/") {
			points = append(points, point)
		}
	}
	slices.Sort(points)
	for _, point := range slices.Backward(points) { // what is inside comes first
		_ = syscall.Unmount(point, syscall.MNT_DETACH)
	}
	if err := os.RemoveAll(n.dir); err != nil {
		t.Error(err)
	}
}

// pods is the state of every container, by pod/container, such as "running, ready", "exited 0" or "waiting".
func (n *node) pods() (map[string]string, error) {
	response, err := http.Get("http://127.0.0.1:" + n.port + "/pods")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	type container struct {
		Name         string
		Ready        bool
		RestartCount int
		State        struct {
			Running    *struct{}
			Terminated *struct{ ExitCode int }
		}
		LastState struct{ Terminated *struct{ ExitCode int } }
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ InitContainerStatuses, ContainerStatuses []container }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, p := range list.Items {
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			state := "waiting"
			switch {
			case c.State.Running != nil:
				state = "running"
			case c.State.Terminated != nil:
				state = fmt.Sprint("exited ", c.State.Terminated.ExitCode)
			}
			if c.Ready {
				state += ", ready"
			}
			if c.RestartCount > 0 {
				state += fmt.Sprintf(", tried again after exit %d", c.LastState.Terminated.ExitCode)
			}
			// A pod on the host's network has the node's name behind its own.
			states[strings.TrimSuffix(p.Metadata.Name, "-node")+"/"+c.Name] = state
		}
	}
	return states, nil
}

// logs is what a container printed, all its attempts together.
func (n *node) logs(pod, container string) string {
	files, _ := filepath.Glob(filepath.Join(n.dir, "logs", "default_"+pod+"-node_*", container, "*.log"))
	var all strings.Builder
	for _, f := range files {
		text, _ := os.ReadFile(f)
		all.Write(text)
	}
	return all.String()
}

// says waits until a container has printed something.
func (n *node) says(t *testing.T, pod, container, words string) {
	t.Helper()
	eventually(t, func() error {
		if text := n.logs(pod, container); !strings.Contains(text, words) {
			states, _ := n.pods()
			return fmt.Errorf("%s never said %q; %v\n%s%s", container, words, states, n.logs(pod, service), text)
		}
		return nil
	})
}

// apply runs the pod of a manifest's Deployment against a database.
func (n *node) apply(t *testing.T, manifest string, d *database) (pod string) {
	t.Helper()
	pod = strings.ReplaceAll(d.name, "_", "-")
	o := quietly(t, "go", "run", "-C", "testdata/e2e/pod", ".", "../../../"+manifest, pod, image, standIn, d.uri())
	o.expect(t, 0)
	t.Logf("%s decodes strictly; its pod on a kubelet:", manifest)
	write(t, filepath.Join(n.dir, "manifests", pod+".json"), o.stdout)
	return pod
}

// become waits until the patch and Evolution have come to these states, and logs what they printed on the way.
func (n *node) become(t *testing.T, pod, patched, evolution string) {
	t.Helper()
	eventually(t, func() error {
		states, err := n.pods()
		if !strings.Contains(states[pod+"/"+service], patched) || states[pod+"/evolution"] != evolution {
			return fmt.Errorf("want %s and %s: %v %v", patched, evolution, states, err)
		}
		return nil
	})
	note(outcome{stdout: n.logs(pod, service)})
	for _, container := range []string{service, "evolution"} {
		t.Logf("%s:\n%s", container, n.logs(pod, container))
	}
}

func TestE2EKubernetes(t *testing.T) {
	n := startNode(t)
	t.Run("init container, existing database", func(t *testing.T) {
		pod := n.apply(t, "deploy/kubernetes.yaml", evolution(t, "public"))
		n.says(t, pod, "evolution", sharing)
		n.become(t, pod, "exited 0, ready", "running, ready")
		if text := n.logs(pod, service); !strings.Contains(text, "changed=true") {
			t.Error("the patch changed nothing")
		}
		if strings.Contains(n.logs(pod, "evolution"), refused) {
			t.Error("Evolution refused the key at first")
		}
	})
	t.Run("init container, fresh database", func(t *testing.T) {
		pod := n.apply(t, "deploy/kubernetes.yaml", newDatabase(t, "public"))
		n.says(t, pod, "evolution", sharing)
		n.become(t, pod, "exited 0, ready", "running, ready")
		if text := n.logs(pod, service); !strings.Contains(text, "guarded: ") {
			t.Error("the patch armed no guard")
		}
		if strings.Contains(n.logs(pod, "evolution"), refused) {
			t.Error("Evolution refused the key at first")
		}
	})
	t.Run("init container, failing", func(t *testing.T) {
		d := evolution(t, "public")
		d.exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
		d.exec(`CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`)
		pod := n.apply(t, "deploy/kubernetes.yaml", d)
		n.become(t, pod, "tried again after exit 3", "waiting")
	})
	t.Run("sidecar, fresh database", func(t *testing.T) {
		pod := n.apply(t, "deploy/kubernetes.sidecar.yaml", newDatabase(t, "public"))
		n.says(t, pod, "evolution", sharing)
		n.become(t, pod, "running, ready", "running, ready")
	})
}
