package project

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// built returns when the user's binary was built. No test may change it.
func built() string {
	info, err := os.Stat(pgtest.Root("bin", "evolution-openai-patch"))
	if err != nil {
		return "none"
	}
	return info.ModTime().String()
}

// The README's first command works whatever listens on the machine, and keeps the binary in bin/.
func TestDemo(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "localhost:54329"); err == nil { // a port that the demo must not need
		defer l.Close()
	}
	before := built()
	cmd := pgtest.RootCommand("make", "-s", "demo")
	cmd.Env = append(os.Environ(), "VERSION=test")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if built() != before {
		t.Error("the binary in bin/ was replaced")
	}
	if strings.Contains(string(out), "\x1b") {
		t.Error("the output contains escape codes although it is not a terminal")
	}
	for _, story := range []string{
		`instance sales registers \S+\n  taken`, `instance support registers \S+\n  refused by Evolution.* already registered`,
		`refused by PostgreSQL: ERROR:  duplicate key value violates unique constraint "OpenaiCreds_apiKey_key"`,
		`level=WARN msg=.*\s.*evolution_api`, `guarded: \S+ schema=public`, `exit status 0`, `instance support registers \S+\n  refused by Evolution`,
		`patched: \S+ schema=evolution_api changed=true apikey-index=patched apikey-check=patched`, `exit status 0`,
		`instance support registers \S+\n  taken`, `sales: \[\S+ \]\n  support: \[\S+ \]`, `changed=false`, `exit status 0`,
		`failed: \S+ schema=evolution_api changed=false`, `exit status 3`, `unpatched: \S+ schema=evolution_api changed=true`, `exit status 0`,
		`sales: \[\S+\]\n  support: \[\S+-credential-support\]`, `everything it wrote is removed`,
	} {
		at := regexp.MustCompile(story).FindIndex(out)
		if at == nil {
			t.Fatalf("%q is missing from the output, or in the wrong place", story)
		}
		out = out[at[1]:]
	}
}

// If the demo's server does not start, the demo prints its log.
func TestDemoTellsWhyItFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // readable for the user of the demo's server
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range map[string]string{
		"initdb": "exit 0", "psql": "exit 1",
		"pg_ctl": `while [ "$1" != -l ]; do shift; done; echo "FATAL: the cause" >"$2"; exit 1`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := pgtest.RootCommand("scripts/demo.sh")
	cmd.Env = append(os.Environ(), "PG_BINDIR="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "FATAL: the cause") {
		t.Errorf("%v\n%s", err, out)
	}
}

// pathWithout returns a PATH with the programs that make and the scripts need, except the unwanted ones.
func pathWithout(t *testing.T, unwanted ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "sh", "make", "git", "env", "sort", "tail", "head", "cat", "id", "dirname", "go", "mktemp", "rm", "grep", "sed", "xargs", "cut", "awk"} {
		file, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(unwanted, name) {
			continue
		}
		if file, err = filepath.EvalSymlinks(file); err != nil { // go finds its library from its real path
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + dir
}

// Without Go, each command asks for it before it does anything.
func TestMakeWithoutGo(t *testing.T) {
	t.Parallel()
	path := pathWithout(t, "go")
	for _, target := range []string{"test", "demo", "build", "lint", "e2e"} {
		cmd := pgtest.RootCommand("make", "--no-print-directory", target)
		cmd.Env = append(os.Environ(), path)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "please install Go 1.26 or later") {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
}

// scripts/test.sh runs the tests each time and prints their number, with or without a C compiler.
func TestTestsAlwaysRun(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"with": "PATH=" + os.Getenv("PATH"), "without": pathWithout(t)} {
		cmd := pgtest.RootCommand("scripts/test.sh", "-run", "^TestURIErrors$", "./patch/prisma")
		cmd.Env = append(os.Environ(), path)
		out, err := cmd.CombinedOutput()
		for _, want := range []string{`(?m)^\d+ test functions in 1 packages$`, ` -count=1 `, `✓  patch/prisma \(`, `the slowest test functions`, `\nDONE 1 tests in \d+ s\n$`} {
			if err != nil || !regexp.MustCompile(want).Match(out) {
				t.Errorf("%s a C compiler: %v, %q is missing:\n%s", name, err, want, out)
			}
		}
		if said := strings.Contains(string(out), "run without it"); said != (name == "without") || said == strings.Contains(string(out), " -race (") {
			t.Errorf("%s a C compiler:\n%s", name, out)
		}
	}
}

// No script opens /dev/stdout or /dev/stderr, which would truncate a log to which its output is redirected.
func TestNothingReopensTheLog(t *testing.T) {
	t.Parallel()
	for _, file := range slices.Concat(pgtest.Glob(t, pgtest.Root("scripts", "*")), pgtest.Glob(t, pgtest.Root(".ci", "*")), []string{pgtest.Root("Makefile")}) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "/dev/std") {
			t.Errorf("%s opens its output again", file)
		}
	}
}
