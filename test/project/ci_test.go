package project

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The scripts in .ci ask for what they lack before they begin anything. They use a Docker engine that answers.
func TestCISaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(filepath.Join(dir, ".ci"), os.DirFS(pgtest.Root(".ci"))); err != nil {
		t.Fatal(err)
	}
	path := pathWithout(t)
	for _, name := range []string{"run", "docker.sh"} {
		cmd := exec.Command(filepath.Join(dir, ".ci", name))
		cmd.Env = append(os.Environ(), path, "DOCKER_HOST=")
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.HasPrefix(string(out), "please start Docker or set DOCKER_HOST") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	for name, script := range map[string]string{"docker": "exit 0", "timeout": `shift; "$@"`} {
		if err := os.WriteFile(filepath.Join(strings.TrimPrefix(path, "PATH="), name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, ".ci/docker.sh"), "--check")
	cmd.Env = append(os.Environ(), path, "DOCKER_HOST=tcp://there")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "the Docker engine that answers at tcp://there\n" {
		t.Errorf("with an engine: %v\n%s", err, out)
	}
}

// .ci/run ends with what each step took, and with those that failed. What runs beside the others is shown when it has ended, fails
// the run if it fails, and does not outlive it.
func TestCISteps(t *testing.T) {
	t.Parallel()
	const well, unwell = "echo looked", "echo found; exit 3"
	for name, c := range map[string]struct {
		beside, step string
		status       int
		want         string
	}{
		"well":        {well, "true", 0, "looked\n.*== what each step took\n.* s  one\n.* s  linters, beside others\n.* s  two\n.* s  in all\nnot run here: the rest\n== done\n$"},
		"beside":      {unwell, "true", 3, "found\n.* s  one\n.* s  linters, beside others\n.* s  in all\nnot run here: the rest\n== FAILED: linters \\(exit status 3\\)\n$"},
		"step":        {well, "exit 4", 4, "looked\n.* s  one, which failed\n.* s  linters, beside others\n.*\n== FAILED: one \\(exit status 4\\)\n$"},
		"both":        {unwell, "exit 4", 4, "found\n.*== FAILED: one, and linters \\(exit status 4\\)\n$"},
		"still looks": {"exec sleep 1000", "exit 4", 4, "one, which failed\n.*not run here: linters, to the end\n== FAILED: one \\(exit status 4\\)\n$"},
	} {
		dir := t.TempDir()
		const script = `set -euo pipefail; . .ci/steps.sh; not_run=("the rest")
			beside linters sh -c 'echo $$ >"$DIR/pid"; eval "$BESIDE"'
			begun() { until [ -s "$DIR/pid" ]; do :; done; [[ $BESIDE == exec* ]] || until [ -e "$side_log.ended" ]; do :; done; (eval "$STEP"); }
			step one begun
			joined
			step two true`
		cmd := pgtest.RootCommand("bash", "-c", script)
		cmd.Env = append(os.Environ(), "DIR="+dir, "TMPDIR="+dir, "BESIDE="+c.beside, "STEP="+c.step)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != c.status || !regexp.MustCompile("(?s)"+c.want).Match(out) {
			t.Errorf("%s: %v, want %q\n%s", name, err, c.want, out)
		}
		pid, err := os.ReadFile(filepath.Join(dir, "pid"))
		if left := pgtest.Glob(t, filepath.Join(dir, "*")); err != nil || len(left) != 1 {
			t.Errorf("%s: %q are left: %v", name, left, err)
		}
		command := filepath.Join("/proc", strings.TrimSpace(string(pid)), "cmdline") // empty of a process that only its parent still knows
		err = pgtest.Until(func() error {
			if left, _ := os.ReadFile(command); len(left) > 0 {
				return fmt.Errorf("%q still runs", left)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
