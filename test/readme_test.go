package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// block returns the fenced block of a page that follows the comment <!-- test: name -->.
func block(t *testing.T, page, name string) string {
	t.Helper()
	content, err := os.ReadFile(pgtest.Root(page))
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

// The README's instructions for undoing the fixes by hand work as written.
func TestReadmeUndo(t *testing.T) {
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(20)
	before := d.SortedDump()
	d.Patch("PATCH_FIXES=apikey-check", "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
	d.Exec(block(t, "README.md", "undo"))
	d.ExpectSortedDump(before)
}

// The instructions for removing a guard by hand work as written.
func TestUndoGuard(t *testing.T) {
	d := pgtest.NewDatabase(t, "public")
	before := d.Dump()
	d.Patch(guard, allFixes).Expect(t, 0, "guarded: ")
	d.Exec(block(t, "docs/upgrades.md", "guard-undo"))
	d.ExpectDump(before)
}

// The README's instructions for a migration that names a dropped index work as written.
func TestReadmeUpgrades(t *testing.T) {
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch().Expect(t, 0, "patched: ")
	dir := t.TempDir()
	drop := dir + "/20991231000000_no_more_unique.sql"
	if err := os.WriteFile(drop, []byte(`DROP INDEX "OpenaiCreds_apiKey_key";`), 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := func() string {
		return d.Text(`SELECT count(*) FROM "_prisma_migrations" WHERE finished_at IS NULL AND rolled_back_at IS NULL`)
	}
	if err := pgtest.RunMigration(d.Conn, drop); err == nil || blocked() != "1" {
		t.Fatalf("the migration does not fail: %v", err)
	}
	if found := d.Text(strings.TrimSuffix(strings.TrimSpace(strings.Replace(block(t, "README.md", "upgrades-look"), ", logs", "", 1)), ";")); found != "20991231000000_no_more_unique" {
		t.Errorf("the query finds %q", found)
	}
	d.Exec(block(t, "README.md", "upgrades-index"))
	d.Exec(block(t, "README.md", "upgrades-resolve"))
	if blocked() != "0" {
		t.Error("the migrations are still blocked")
	}
	d.Exec(`DELETE FROM "_prisma_migrations" WHERE rolled_back_at IS NOT NULL`) // Prisma would add a second row
	if err := pgtest.RunMigration(d.Conn, drop); err != nil {
		t.Error(err)
	}
	d.Patch("PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "changed=false", "2.4.0-rc or later")
}

// All commands and files that the README names exist.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile(pgtest.Root("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile(pgtest.Root("Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`?make ([a-z0-9-]+)").FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(string(makefile), "\n"+m[1]+":") {
			t.Errorf("the README names `make %s`, which does not exist", m[1])
		}
	}
	module, err := os.ReadFile(pgtest.Root("go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))[1]; !strings.Contains(string(readme), "You need Linux, Go "+needed+" or later, and make") {
		t.Errorf("the README does not say that Go %s is needed", needed)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(readme), -1) {
		if !pgtest.Exists(pgtest.Root(m[1])) {
			t.Errorf("the README links to %s, which does not exist", m[1])
		}
	}
}
