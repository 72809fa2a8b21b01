package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// built is what the user has built, which no test may touch.
func built() string {
	info, err := os.Stat("bin/evolution-openai-patch")
	if err != nil {
		return "none"
	}
	return info.ModTime().String()
}

// The README's first command, as a stranger runs it, beside whatever else listens and with what was built before.
func TestDemo(t *testing.T) {
	if l, err := net.Listen("tcp", "localhost:54329"); err == nil { // the port that the demo once insisted on
		defer l.Close()
	}
	before := built()
	cmd := exec.Command("make", "-s", "demo")
	cmd.Env = append(os.Environ(), "VERSION=test")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if built() != before {
		t.Error("what was built in bin/ has been replaced")
	}
	if strings.Contains(string(out), "\x1b") {
		t.Error("escape codes where there is no terminal")
	}
	for _, story := range []string{
		`instance sales registers \S+\n  taken`, `instance support registers \S+\n  refused by Evolution.* already registered`,
		`refused by PostgreSQL: ERROR:  duplicate key value violates unique constraint "OpenaiCreds_apiKey_key"`,
		`patched: \S+ schema=evolution_api changed=true apikey-index=patched apikey-check=patched`,
		`exit status 0`, `instance support registers \S+\n  taken`, `sales: \[\S+ \]\n  support: \[\S+ \]`, `changed=false`,
		`unpatched: \S+ schema=evolution_api changed=true`, `sales: \[\S+\]\n`, `instance support registers \S+\n  refused by Evolution`, `everything it wrote is removed`,
	} {
		at := regexp.MustCompile(story).FindIndex(out)
		if at == nil {
			t.Fatalf("%q does not come, or not in its turn", story)
		}
		out = out[at[1]:]
	}
}

// Where the demo's server does not start, its log tells why.
func TestDemoTellsWhyItFails(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} { // the demo's server runs as another user
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
	cmd := exec.Command("scripts/demo.sh")
	cmd.Env = append(os.Environ(), "PG_BINDIR="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "FATAL: the cause") {
		t.Errorf("%v\n%s", err, out)
	}
}

// pathWithout is a PATH with what make and the scripts need, but without some programs.
func pathWithout(t *testing.T, unwanted ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bash", "sh", "make", "git", "env", "sort", "tail", "head", "cat", "id", "dirname", "go", "mktemp", "rm", "grep", "sed"} {
		file, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(unwanted, name) {
			continue
		}
		if file, err = filepath.EvalSymlinks(file); err != nil { // go finds its library beside its real place
			t.Fatal(err)
		}
		if err := os.Symlink(file, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + dir
}

// Without Go, each command says so before it does anything.
func TestMakeWithoutGo(t *testing.T) {
	path := pathWithout(t, "go")
	for _, target := range []string{"test", "demo", "build", "lint", "e2e"} {
		cmd := exec.Command("make", "--no-print-directory", target)
		cmd.Env = append(os.Environ(), path)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "please install Go 1.26 or later") {
			t.Errorf("make %s: %v\n%s", target, err, out)
		}
	}
}

// The tests run each time, and say how many they were, with or without a C compiler.
func TestTestsAlwaysRun(t *testing.T) {
	for name, path := range map[string]string{"with": os.Getenv("PATH"), "without": pathWithout(t)} {
		for range 2 {
			cmd := exec.Command("scripts/test.sh", "-run", "^TestURIErrors$", "./patch")
			cmd.Env = append(os.Environ(), "PATH="+strings.TrimPrefix(path, "PATH="))
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "DONE 1 tests") || strings.Contains(string(out), "cached") {
				t.Errorf("%s a C compiler: %v\n%s", name, err, out)
			}
			if name == "without" && !strings.Contains(string(out), "run without it") {
				t.Errorf("it does not say that there is no C compiler:\n%s", out)
			}
		}
	}
}

// What .ci/run cannot do without is asked for in its first second, and not demanded where Docker answers already.
func TestCISaysWhatItNeeds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(filepath.Join(dir, ".ci"), os.DirFS(".ci")); err != nil {
		t.Fatal(err)
	}
	path := pathWithout(t)
	for _, name := range []string{"run", "docker.sh"} {
		began := time.Now()
		cmd := exec.Command(filepath.Join(dir, ".ci", name))
		cmd.Env = append(os.Environ(), path, "DOCKER_HOST=")
		out, err := cmd.CombinedOutput()
		if took := time.Since(began); err == nil || took > 2*time.Second || !strings.HasPrefix(string(out), "please start Docker or set DOCKER_HOST") {
			t.Errorf("%s after %v: %v\n%s", name, took, err, out)
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

// A log into which somebody redirects what a command prints is not opened a second time, which truncates it.
func TestNothingReopensTheLog(t *testing.T) {
	files, _ := filepath.Glob("scripts/*")
	ci, _ := filepath.Glob(".ci/*")
	for _, file := range slices.Concat(files, ci, []string{"Makefile"}) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "/dev/std") {
			t.Errorf("%s opens what it writes to once more", file)
		}
	}
}

// block is the fenced block of a page that follows the comment <!-- test: name -->.
func block(t *testing.T, page, name string) string {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(content), "<!-- test: "+name+" -->")
	if !found {
		t.Fatalf("%s has no block %s", page, name)
	}
	_, rest, _ = strings.Cut(rest, "```")
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, _ := strings.Cut(rest, "```")
	return code
}

// What the README says about undoing by hand works as written, for a table that the program has patched.
func TestReadmeUndo(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.rows(20)
	before := d.dump()
	d.patch("PATCH_FIXES=apikey-check", "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=true")
	d.exec(block(t, "README.md", "undo"))
	if after := d.dump(); sorted(after) != sorted(before) {
		t.Error(firstDifference(sorted(before), sorted(after)))
	}
}

// What the notes on upgrades say about removing a guard by hand works as written.
func TestUndoGuard(t *testing.T) {
	d := firstBoot(t, "public")
	before := d.dump()
	d.patch(guard, allFixes).expect(t, 0, "guarded: ")
	d.exec(block(t, "docs/upgrades.md", "guard-undo"))
	if after := d.dump(); after != before {
		t.Error(firstDifference(before, after))
	}
}

// What the README says about a migration that names a dropped index works as written.
func TestReadmeUpgrades(t *testing.T) {
	d := evolution(t, "evolution_api")
	d.patch().expect(t, 0, "patched: ")
	dir := t.TempDir()
	drop := dir + "/20991231000000_no_more_unique.sql"
	if err := os.WriteFile(drop, []byte(`DROP INDEX "OpenaiCreds_apiKey_key";`), 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := func() string {
		return d.text(`SELECT count(*) FROM "_prisma_migrations" WHERE finished_at IS NULL AND rolled_back_at IS NULL`)
	}
	if err := runMigration(d.conn, "20991231000000_no_more_unique", drop); err == nil || blocked() != "1" {
		t.Fatalf("the migration passes: %v", err)
	}
	if found := d.text(strings.TrimSuffix(strings.TrimSpace(strings.Replace(block(t, "README.md", "upgrades-look"), ", logs", "", 1)), ";")); found != "20991231000000_no_more_unique" {
		t.Errorf("what blocks it is found to be %q", found)
	}
	d.exec(block(t, "README.md", "upgrades-index"))
	d.exec(block(t, "README.md", "upgrades-resolve"))
	if blocked() != "0" {
		t.Error("it is still blocked")
	}
	d.exec(`DELETE FROM "_prisma_migrations" WHERE rolled_back_at IS NOT NULL`) // Prisma would add a second row
	if err := runMigration(d.conn, "20991231000000_no_more_unique", drop); err != nil {
		t.Error(err)
	}
	d.patch("PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "changed=false", "2.4.0-rc or later")
}

// Every command that the README gives exists.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`?make ([a-z0-9-]+)").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("there is no `make %s`", m[1])
		}
	}
	module, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))[1]; !strings.Contains(string(readme), "You need Linux, Go "+needed+" or later, and make") {
		t.Errorf("the README does not say that Go %s is needed", needed)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		if !exists(m[1]) {
			t.Errorf("%s, which the README names, is not there", m[1])
		}
	}
}
