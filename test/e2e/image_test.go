//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

const (
	service = "evolution-openai-patch" // the service in compose.example.yml and deploy/

	// The tests create images, containers and volumes under names of their own, and remove them.
	e2eProject = "evolution-openai-patch-e2e"
	image      = e2eProject + "/patch"
	standIn    = e2eProject + "/evolution"
	pauseImage = "localhost/" + e2eProject + "/pause:e2e"

	exampleURI = "postgresql://evolution:" + pgtest.ExamplePassword + "@postgres:5432/evolution?schema=evolution_api"
)

func TestE2EImage(t *testing.T) {
	buildImages(t)
	o := runCommand(t, "docker", "image", "inspect", "-f", `{{.Size}} user {{.Config.User}} version {{index .Config.Labels "org.opencontainers.image.version"}}`, image)
	o.Expect(t, 0, " user 65532:65532 version e2e")

	build := pgtest.RootCommand("docker", "build", "--build-arg", "VERSION=e2e", "-o", "-", ".")
	build.Env = append(os.Environ(), "DOCKER_BUILDKIT=1")
	content, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	var files []string
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		f, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		size += f.Size
		files = append(files, fmt.Sprintf("%s %#o", f.Name, f.Mode))
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes in %v, %d to pull", size, files, packed.Len())
	if size > 8e6 || packed.Len() > 3.3e6 {
		t.Errorf("the image has %d bytes, %d to pull: more than 8 MB, or 3.3", size, packed.Len())
	}
	if strings.Join(files, ", ") != "evolution-openai-patch 0755" {
		t.Errorf("the image contains %v, want only the program", files)
	}

	if v := docker(t, "run", "--rm", "--read-only", "--cap-drop=ALL", "--network=none", image, "version"); v != "e2e" {
		t.Errorf("the version is %q, want e2e", v)
	}
}

// A container stops when it is asked to: Docker kills one that does not end.
func TestE2EStops(t *testing.T) {
	buildImages(t)
	id := docker(t, "run", "-d", "-e", "DATABASE_CONNECTION_URI=postgresql://nobody:"+url.QueryEscape(pgtest.Password)+"@127.0.0.1:1/none", image)
	defer remove(t, id)
	says(t, id, "waiting for PostgreSQL")
	docker(t, "stop", "-t", "10", id)
	if code := docker(t, "inspect", "-f", "{{.State.ExitCode}}", id); code != "143" {
		t.Errorf("exit status %s, want 143", code)
	}
}
