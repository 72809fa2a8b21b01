//go:build e2e

package e2e

import (
	"debug/elf"
	"io"
	"log"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"evolution-openai-patch/test/pgtest"
)

// platforms are those that are released.
var platforms = []struct {
	name    string
	machine elf.Machine
	qemu    string // runs a binary of the platform on any other
}{
	{"linux/amd64", elf.EM_X86_64, "qemu-x86_64-static"},
	{"linux/arm64", elf.EM_AARCH64, "qemu-aarch64-static"},
	{"linux/arm/v7", elf.EM_ARM, "qemu-arm-static"},
}

// An index of the images for every platform, as a release pushes it, is pulled from a registry by its digest, and holds for
// each platform a binary that runs there.
func TestE2ERegistry(t *testing.T) {
	buildImages(t)
	t.Setenv("BUILDX_NO_DEFAULT_ATTESTATIONS", "1") // which would make an index of each image
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	name := strings.Replace(strings.TrimPrefix(server.URL, "http://"), "127.0.0.1", "localhost", 1) + "/" + image // without TLS only there
	push := []string{"manifest", "create", "--insecure", name + ":e2e"}
	for _, p := range platforms {
		ref := name + ":" + strings.ReplaceAll(p.name, "/", "-")
		docker(t, "build", "-q", "--platform", p.name, "--build-arg", "VERSION=e2e", "-t", ref, ".")
		docker(t, "push", "-q", ref)
		removeImage(t, ref)
		push = append(push, ref)
	}
	docker(t, push...)
	digest := docker(t, "manifest", "push", "--insecure", "--purge", name+":e2e")
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			docker(t, "pull", "-q", "--platform", p.name, name+"@"+digest)
			defer removeImage(t, name+"@"+digest)
			container := docker(t, "create", "--platform", p.name, name+"@"+digest)
			defer docker(t, "rm", container)
			path := filepath.Join(t.TempDir(), service)
			docker(t, "cp", container+":/"+service, path)
			binary, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer binary.Close()
			if binary.Machine != p.machine {
				t.Errorf("the binary is for %v, want %v", binary.Machine, p.machine)
			}
			version := []string{path, "version"}
			if p.name != "linux/"+runtime.GOARCH {
				version = append([]string{p.qemu}, version...)
			}
			if out, err := exec.Command(version[0], version[1:]...).Output(); err != nil || strings.TrimSpace(string(out)) != "e2e" {
				t.Errorf("%v prints %q, %v; want e2e", version, out, err)
			}
		})
	}
}

// removeImage removes an image that only this test has made.
func removeImage(t *testing.T, ref string) {
	t.Helper()
	docker(t, "rmi", "-f", ref)
}

// The same sources give the same image, in whatever folder and whenever they are built. What builds them here is buildah,
// which like BuildKit in a release takes the time of the image as an argument; Debian's Docker engine does not.
func TestE2EReproducible(t *testing.T) {
	copied, archive := t.TempDir(), filepath.Join(t.TempDir(), "golang.tar")
	if out, err := pgtest.RootCommand("sh", "-c", `git ls-files -z | xargs -0 cp --parents -t "$0"`, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const golang = "golang:1.26-alpine" // of the Dockerfile; BuildKit may keep it where other commands do not find it
	if runQuietly(t, "docker", "image", "inspect", golang).Code != 0 {
		docker(t, "pull", "-q", golang)
	}
	docker(t, "save", "-o", archive, golang)
	t.Setenv("DOCKER_CONFIG", "") // buildah requires a config.json in it
	var ids []string
	for _, folder := range []string{".", copied} {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir) // where buildah caches
		buildah := func(args ...string) string {
			t.Helper()
			return mustRun(t, "buildah", append([]string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run")}, args...)...)
		}
		buildah("pull", "-q", "docker-archive:"+archive)
		ids = append(ids, buildah("build", "-q", "--pull=never", "--isolation", "chroot", "--timestamp", "1767225600", "--build-arg", "VERSION=e2e", folder))
		buildah("rmi", "--all", "--force")
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("two builds made different images: %q", ids)
	}
}
