package project

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// `make lint` fails if go.mod is not as `go mod tidy` writes it.
func TestLintFindsAnUntidyModule(t *testing.T) {
	t.Parallel()
	plan, err := pgtest.RootCommand("make", "-n", "lint").Output()
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.Split(string(plan), "\n")
	tidy := slices.IndexFunc(commands, func(c string) bool { return strings.HasPrefix(c, "go mod tidy ") })
	if tidy < 0 {
		t.Fatalf("make lint does not run go mod tidy:\n%s", plan)
	}
	dir := t.TempDir()
	for _, name := range append(goFiles(t), "go.mod", "go.sum") {
		content, err := os.ReadFile(pgtest.Root(name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" { // as if the module itself imported them
			content = bytes.ReplaceAll(content, []byte(" // indirect"), nil)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/bin/bash", "-c", commands[tidy])
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "// indirect") {
		t.Errorf("%s: %v, want a difference:\n%s", commands[tidy], err, out)
	}
}
