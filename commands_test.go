package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The README's first command, as a stranger runs it.
func TestDemo(t *testing.T) {
	cmd := exec.Command("make", "-s", "demo")
	cmd.Env = append(os.Environ(), "VERSION=test")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range []string{
		`instance support registers \S+\n  refused by Evolution`, `PATCH_FIXES=apikey-index,apikey-check`, `patched: \S+ schema=evolution_api changed=true`,
		`exit status 0`, `instance support registers \S+\n  taken`, `changed=false`, `everything it wrote is removed`,
	} {
		at := regexp.MustCompile(story).FindIndex(out)
		if at == nil {
			t.Fatalf("%q does not come, or not in its turn", story)
		}
		out = out[at[1]:]
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
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		if !exists(m[1]) {
			t.Errorf("%s, which the README names, is not there", m[1])
		}
	}
}
