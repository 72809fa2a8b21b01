//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"evolution-openai-patch/test/pgtest"
)

// runQuietly runs a program in the repository's root folder.
func runQuietly(t *testing.T, name string, args ...string) pgtest.Outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := pgtest.RootCommand(name, args...)
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=1", "EVOLUTION_PORT=0", // 0: any port that is free
		"POSTGRES_PASSWORD="+pgtest.ExamplePassword, "AUTHENTICATION_API_KEY=any")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("%v: apt-get install docker.io docker-compose   (or https://docs.docker.com/engine/install)", err)
	}
	return pgtest.Outcome{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// runCommand is like runQuietly, and logs the command and its output.
func runCommand(t *testing.T, name string, args ...string) pgtest.Outcome {
	t.Helper()
	began := time.Now()
	o := runQuietly(t, name, args...)
	t.Logf("%s %s → exit %d, %d ms\n%s%s", name, strings.Join(args, " "), o.Code, time.Since(began).Milliseconds(), o.Stderr, o.Stdout)
	return o
}

// docker runs a docker command and returns its output. The test fails at once if the command does.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	return mustRun(t, "docker", args...)
}

// mustRun does the same with any command.
func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	o := runCommand(t, name, args...)
	o.Expect(t, 0)
	if t.Failed() {
		t.FailNow()
	}
	return strings.TrimSpace(o.Stdout)
}

// recordLog adds a container's log to what is searched for secrets.
func recordLog(t *testing.T, name string, args ...string) {
	t.Helper()
	o := runQuietly(t, name, args...)
	o.Expect(t, 0)
	pgtest.Record(o)
}

var images sync.Once

// buildImages builds the program's image from its Dockerfile, and the stand-in's, once.
func buildImages(t *testing.T) {
	t.Helper()
	images.Do(func() {
		pgtest.AtEnd(func() { // keeps images that have other names too
			for _, name := range []string{image, standIn, pauseImage} {
				_ = exec.Command("docker", "rmi", "-f", name).Run()
			}
		})
		if o := runCommand(t, "docker", "version", "--format", "engine {{.Server.Version}}"); o.Code != 0 {
			t.Fatal("no Docker engine answers: apt-get install docker.io, start it, or set DOCKER_HOST")
		}
		docker(t, "build", "-q", "--build-arg", "VERSION=e2e", "-t", image, ".")

		dir := t.TempDir()
		build := pgtest.RootCommand("go", "build", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin/evolution"), "./test/testdata/e2e/evolution")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.CopyFS(filepath.Join(dir, "migrations"), os.DirFS(pgtest.Root("test", "testdata", "migrations"))); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY . /\nENTRYPOINT [\"/bin/evolution\"]\n")
		docker(t, "build", "-q", "-t", standIn, dir)
	})
}

// write writes a file and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually polls a condition that containers bring about.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	if err := pgtest.Until(condition); err != nil {
		t.Fatal(err)
	}
}

// says waits until a container has logged something.
func says(t *testing.T, container, words string) {
	t.Helper()
	eventually(t, func() error {
		if o := runQuietly(t, "docker", "logs", container); !strings.Contains(o.Stdout+o.Stderr, words) {
			return fmt.Errorf("the container did not log %q:\n%s%s", words, o.Stderr, o.Stdout)
		}
		return nil
	})
}

// remove removes a container of the program's and records its log.
func remove(t *testing.T, container string) {
	recordLog(t, "docker", "logs", container)
	docker(t, "rm", "-f", container)
}
