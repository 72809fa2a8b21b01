//go:build e2e

package e2e

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

	"evolution-openai-patch/test/pgtest"
)

// A node is a kubelet with containerd and without a control plane. It runs the pods in its folder manifests.
type node struct {
	dir, port string
	applied   int // pods so far
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

// startNode starts a kubelet that has the images and no pods. It is stopped when the test ends.
func startNode(t *testing.T) *node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("a kubelet needs root: sudo -E env PATH=\"$PATH\" make e2e")
	}
	buildImages(t)
	built := runCommand(t, "test/testdata/e2e/kubelet.sh")
	built.Expect(t, 0)
	dir, err := os.MkdirTemp("/tmp", "kubelet") // short, as the path of a socket may have 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: dir, port: pgtest.FreePort()}
	for _, sub := range []string{"manifests", "logs"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { n.clean(t) }) // runs after both programs are stopped
	n.run(t, "containerd", "-c", write(t, filepath.Join(dir, "containerd.toml"), fmt.Sprintf(containerdConfig, dir)))
	eventually(t, func() error {
		if o := runQuietly(t, "ctr", "-a", n.socket(), "version"); o.Code != 0 {
			return errors.New(o.Stderr)
		}
		return nil
	})
	write(t, filepath.Join(dir, "Dockerfile"), "FROM "+standIn+"\nCMD [\"pause\"]\n")
	docker(t, "build", "-q", "-t", pauseImage, "-f", filepath.Join(dir, "Dockerfile"), filepath.Join(dir, "manifests"))
	runCommand(t, "sh", "-c", "docker save "+pauseImage+" "+standIn+" "+image+" | ctr -a "+n.socket()+" -n k8s.io images import -").Expect(t, 0)

	n.run(t, strings.TrimSpace(built.Stdout), "--root-dir", filepath.Join(dir, "kubelet"), "--hostname-override", "node",
		"--config", write(t, filepath.Join(dir, "kubelet.yaml"), fmt.Sprintf(kubeletConfig, dir, pgtest.FreePort(), n.port)))
	eventually(t, func() error { _, err := n.pods(); return err })
	t.Cleanup(func() { // while the kubelet runs, which stops the pods
		manifests, _ := filepath.Glob(filepath.Join(dir, "manifests/*"))
		for _, m := range manifests {
			_ = os.Remove(m)
		}
		eventually(t, func() error {
			if o := runQuietly(t, "ctr", "-a", n.socket(), "-n", "k8s.io", "tasks", "ls", "-q"); o.Stdout != "" {
				return errors.New("containers still run: " + o.Stdout)
			}
			return nil
		})
	})
	return n
}

func (n *node) socket() string { return filepath.Join(n.dir, "containerd.sock") }

// run starts a program that is stopped when the test ends.
func (n *node) run(t *testing.T, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(n.dir, filepath.Base(name)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // also if the tests end without cleaning up
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: apt-get install containerd", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", runQuietly(t, "tail", "-n", "20", log.Name()).Stdout)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
	})
}

// clean unmounts what the kubelet and containerd have mounted, and removes the node's folder.
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
	for _, point := range slices.Backward(points) { // inner mounts first
		_ = syscall.Unmount(point, syscall.MNT_DETACH)
	}
	if err := os.RemoveAll(n.dir); err != nil {
		t.Error(err)
	}
}

// podList is what the kubelet answers about its pods.
type podList struct {
	Items []struct {
		Metadata struct{ Name string }
		Status   struct{ InitContainerStatuses, ContainerStatuses []containerStatus }
	}
}

type containerStatus struct {
	Name         string
	Ready        bool
	RestartCount int
	State        struct {
		Running    *struct{}
		Terminated *struct {
			ExitCode int
			Message  string
		}
	}
	LastState struct{ Terminated *struct{ ExitCode int } }
}

// list returns the status of each container, by pod/container.
func (n *node) list() (map[string]containerStatus, error) {
	response, err := http.Get("http://127.0.0.1:" + n.port + "/pods")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var list podList
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return nil, err
	}
	containers := map[string]containerStatus{}
	for _, p := range list.Items {
		for _, c := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			// A pod on the host's network has the node's name behind its own.
			containers[strings.TrimSuffix(p.Metadata.Name, "-node")+"/"+c.Name] = c
		}
	}
	return containers, nil
}

// pods returns the state of each pod/container, such as "running, ready", "exited 0" or "waiting".
func (n *node) pods() (map[string]string, error) {
	containers, err := n.list()
	states := map[string]string{}
	for name, c := range containers {
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
		states[name] = state
	}
	return states, err
}

// logs returns the output of all runs of a container.
func (n *node) logs(pod, container string) string {
	files, _ := filepath.Glob(filepath.Join(n.dir, "logs", "default_"+pod+"-node_*", container, "*.log"))
	var all strings.Builder
	for _, f := range files {
		text, _ := os.ReadFile(f)
		all.Write(text)
	}
	return all.String()
}

// says waits until a container has printed words.
func (n *node) says(t *testing.T, pod, container, words string) {
	t.Helper()
	eventually(t, func() error {
		if text := n.logs(pod, container); !strings.Contains(text, words) {
			states, _ := n.pods()
			return fmt.Errorf("%s did not log %q; %v\n%s%s", container, words, states, n.logs(pod, service), text)
		}
		return nil
	})
}
