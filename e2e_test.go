//go:build e2e

// The image, compose.example.yml and deploy/ on a real Docker engine, with a stand-in for Evolution (testdata/e2e).
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	service = "evolution-openai-patch" // and the image, as compose.example.yml and deploy/ name it

	// What is made in the engine has names that no user's has, and goes when the tests end.
	e2eProject = "evolution-openai-patch-e2e"
	image      = e2eProject + "/patch"
	standIn    = e2eProject + "/evolution"
	pauseImage = "localhost/" + e2eProject + "/pause:e2e"

	exampleURI = "postgresql://evolution:" + examplePassword + "@postgres:5432/evolution?schema=evolution_api"
)

// quietly runs a program to its end.
func quietly(t *testing.T, name string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=1", "EVOLUTION_PORT=0") // 0: any port that is free
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("%v: apt-get install docker.io docker-compose   (or https://docs.docker.com/engine/install)", err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// command is quietly with the test's log telling all of it.
func command(t *testing.T, name string, args ...string) outcome {
	t.Helper()
	began := time.Now()
	o := quietly(t, name, args...)
	t.Logf("%s %s → exit %d, %d ms\n%s%s", name, strings.Join(args, " "), o.code, time.Since(began).Milliseconds(), o.stderr, o.stdout)
	return o
}

// docker is a docker command that has to succeed; it returns what that printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	o := command(t, "docker", args...)
	o.expect(t, 0)
	if t.Failed() {
		t.FailNow()
	}
	return strings.TrimSpace(o.stdout)
}

// noteLog has a log searched for secrets; it is called before the log is gone.
func noteLog(t *testing.T, name string, args ...string) {
	t.Helper()
	o := quietly(t, name, args...)
	o.expect(t, 0)
	note(o)
}

var images sync.Once

// needImages builds the program's image from its Dockerfile, and the stand-in's, once.
func needImages(t *testing.T) {
	t.Helper()
	images.Do(func() {
		atEnd = append(atEnd, func() { // which names only what has one
			for _, name := range []string{image, standIn, pauseImage} {
				_ = exec.Command("docker", "rmi", "-f", name).Run()
			}
		})
		if o := command(t, "docker", "version", "--format", "engine {{.Server.Version}}"); o.code != 0 {
			t.Fatal("no Docker engine answers: apt-get install docker.io, start it, or set DOCKER_HOST")
		}
		docker(t, "build", "-q", "--build-arg", "VERSION=e2e", "-t", image, ".")

		dir := t.TempDir()
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin/evolution"), "./testdata/e2e/evolution")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.CopyFS(filepath.Join(dir, "migrations"), os.DirFS("testdata/migrations")); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY . /\nENTRYPOINT [\"/bin/evolution\"]\n")
		docker(t, "build", "-q", "-t", standIn, dir)
	})
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually polls what containers bring about.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	if err := until(time.Minute, condition); err != nil {
		t.Fatal(err)
	}
}

func TestE2EImage(t *testing.T) {
	needImages(t)
	o := command(t, "docker", "image", "inspect", "-f", `{{.Size}} user {{.Config.User}} version {{index .Config.Labels "org.opencontainers.image.version"}}`, image)
	o.expect(t, 0, " user 65532:65532 version e2e")

	build := exec.Command("docker", "build", "--build-arg", "VERSION=e2e", "-o", "-", ".")
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
	t.Logf("%d bytes in %v", size, files)
	if size > 7e6 {
		t.Errorf("the image has %d bytes, more than 7 MB", size)
	}
	if strings.Join(files, ", ") != "evolution-openai-patch 0755" {
		t.Errorf("the image holds %v, not the program alone", files)
	}

	if v := docker(t, "run", "--rm", "--read-only", "--cap-drop=ALL", "--network=none", image, "version"); v != "e2e" {
		t.Errorf("version %q is stamped in", v)
	}
}

// says waits until a container has logged something.
func says(t *testing.T, container, words string) {
	t.Helper()
	eventually(t, func() error {
		if o := quietly(t, "docker", "logs", container); !strings.Contains(o.stdout+o.stderr, words) {
			return fmt.Errorf("it never said %q:\n%s%s", words, o.stderr, o.stdout)
		}
		return nil
	})
}

// remove removes a container of the program's.
func remove(t *testing.T, container string) {
	noteLog(t, "docker", "logs", container)
	docker(t, "rm", "-f", container)
}

func TestE2EStopWithinASecond(t *testing.T) {
	needImages(t)
	id := docker(t, "run", "-d", "-e", "DATABASE_CONNECTION_URI=postgresql://nobody:"+url.QueryEscape(password)+"@127.0.0.1:1/none", image)
	defer remove(t, id)
	says(t, id, "waiting for PostgreSQL")
	began := time.Now()
	docker(t, "stop", "-t", "10", id)
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if code := docker(t, "inspect", "-f", "{{.State.ExitCode}}", id); code != "143" {
		t.Errorf("exit status %s, want 143", code)
	}
}
