package attack

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// restore runs a backup through psql as the superuser, as the backup's first lines advise. It may fail.
func (a *attack) restore(file string) {
	a.t.Helper()
	out, err := a.Psql(file)
	a.t.Logf("psql of %s: %v\n%s", filepath.Base(file), err, out)
}

// restoreAll restores the backups in a folder.
func (a *attack) restoreAll(dir string) {
	a.t.Helper()
	for _, file := range pgtest.Glob(a.t, dir, "*") {
		a.restore(file)
	}
}

// markerFile returns the path of a file that a shell command in a backup could create.
func (a *attack) markerFile() string {
	a.t.Helper()
	dir := filepath.Join(a.Server.Dir, a.Name)
	if err := pgtest.MakeServerDir(dir); err != nil {
		a.t.Fatal(err)
	}
	return filepath.Join(dir, "x")
}

// evo writes SQL and shell commands into a function that a backup contains. The superuser restores the backup.
func TestAttackThroughTheBackup(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"dollar quotes": "BEGIN RETURN NEW; END --$$; ALTER ROLE %[1]s SUPERUSER; SELECT evil.strike(); \\! touch %[2]s\n--; SELECT $$x",
		"psql's line":   "BEGIN RETURN NEW; END --\n\\! touch %[2]s\n\\.\nALTER ROLE %[1]s SUPERUSER;",
		"quotes":        "BEGIN RETURN NEW; END --'; ALTER ROLE %[1]s SUPERUSER; SELECT E'\\'; \\! touch %[2]s\n",
	} {
		for _, action := range []string{"apply", "revert"} {
			t.Run(name+"/"+action, func(t *testing.T) {
				a := newAttackOnEvolution(t)
				mark, dir := a.markerFile(), t.TempDir()
				a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
				pgtest.Exec(t, a.asEvo, `SET check_function_bodies = off`)
				pgtest.Exec(t, a.asEvo, `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $evil$`+fmt.Sprintf(body, a.evo, mark)+`$evil$`)
				before := a.Catalog()
				a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION="+action, "PATCH_BACKUP_DIR="+dir).Expect(t, 3, "evolution_openai_patch")
				a.requireUnchanged(before, action)
				a.restoreAll(dir)
				a.requireNoStrike("restored")
				if pgtest.Exists(mark) {
					t.Error("the restore ran a shell command")
				}
			})
		}
	}
}

// The first lines of a backup are comments with the schema's name, and psql ends a comment at a carriage return.
func TestAttackSchemaNameInTheBackup(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"\r", "\n", "\r\n", "\v", "\f", "\u2028", "\u0085"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			a := &attack{Database: pgtest.NewDatabase(t, "public"), t: t}
			mark, dir := a.markerFile(), t.TempDir()
			if a.Schema = "x" + end + `\! >` + mark + " #"; len(a.Schema) > 63 {
				t.Fatalf("%q is too long for a name: set TMPDIR to a shorter path", a.Schema)
			}
			a.Exec("CREATE SCHEMA " + pgtest.Quote(a.Schema))
			a.Exec("SET search_path TO " + pgtest.Quote(a.Schema))
			a.Migrate(pgtest.Last)
			a.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one')`)
			a.InsertCredentials(3)
			before := a.SortedDump()
			a.Patch(pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true", pgtest.BackedUp)
			a.restoreAll(dir)
			if pgtest.Exists(mark) {
				t.Error("the restore ran a shell command")
			}
			a.ExpectSortedDump(before)
		})
	}
}

// evo writes SQL and shell commands into the comment on an index, which a backup brings back.
func TestAttackCommentInTheBackup(t *testing.T) {
	t.Parallel()
	for name, comment := range map[string]string{
		"quote": "x'; SELECT evil.strike(); --", "backslash": `x\'; SELECT evil.strike(); --`, "newline": "x\n\\! >%s\n", "carriage return": "x\r\\! >%s\r", "variable": ":'HOME' :HOME \\gexec",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			mark, dir := a.markerFile(), t.TempDir()
			if comment = strings.ReplaceAll(comment, "%s", mark); len(comment) > 100 {
				t.Fatalf("%q is longer than what is read of a comment: set TMPDIR to a shorter path", comment)
			}
			pgtest.Exec(t, a.asEvo, `COMMENT ON INDEX "OpenaiCreds_apiKey_key" IS '`+strings.ReplaceAll(comment, "'", "''")+`'`)
			before := a.SortedDump()
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true", pgtest.BackedUp)
			a.restoreAll(dir)
			a.requireNoStrike("restored")
			if pgtest.Exists(mark) {
				t.Error("the restore ran a shell command")
			}
			a.ExpectSortedDump(before)
			if got := a.Text(`SELECT obj_description('"OpenaiCreds_apiKey_key"'::regclass, 'pg_class')`); got != comment {
				t.Errorf("the comment is %q, want %q", got, comment)
			}
		})
	}
}

// A schema, an index, a column and the role that owns them have names that are SQL unless they are quoted.
func TestAttackNames(t *testing.T) {
	t.Parallel()
	for name, hostile := range map[string]string{
		"newline": "x\n;%s", "carriage return": "x\r;%s", "quote": "x';%s", "double quote": `x";%s`, "backslash": `x\';%s`, "end of comment": "x*/;%s", "comment": "x--\n;%s",
		"dollar quotes": "x$$;%s", "our dollar quotes": "x$guard$;%s", "placeholders": `:'names'%%I%%[1]s$1;%s`, "another placeholder": `:'guard';%s`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttack(t, "evo")
			owner := fmt.Sprintf(hostile, "SELECT evil.strike();COMMIT;--") + strings.TrimPrefix(a.Name, "evolution_")
			q := pgtest.Quote(owner)
			a.createRole(owner, "")
			a.Exec(fmt.Sprintf(`CREATE SCHEMA %[1]s AUTHORIZATION %[1]s; GRANT %[1]s TO %[2]s`, q, a.evo))
			a.Schema = owner
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`SET ROLE %[1]s`, q))
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`SET search_path TO %[1]s`, q))
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "pending: ")
			a.patchAs("postgres", pgtest.AllFixes, pgtest.Guard).Expect(t, 0, "guarded: ")
			a.startEvolution(a.asEvo)
			a.requireNoStrike("the guard has run")
			pgtest.Exec(t, a.asEvo, fmt.Sprintf(`ALTER TABLE "OpenaiCreds" ADD COLUMN %[1]s text; CREATE UNIQUE INDEX %[1]s ON "OpenaiCreds"("apiKey")`, q))
			dir := t.TempDir()
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 5, "unpatched: ")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_DRY_RUN=true").Expect(t, 0, "unpatched: ")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
			a.restoreAll(dir)
			a.requireNoStrike("restored")
			a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ")
			a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert").Expect(t, 0, "unpatched: ", "changed=true")
		})
	}
}

// A backup restores rows, indexes and the program's trigger. The trigger's function belongs to evo as before.
func TestAttackLeavesTheBackupUseful(t *testing.T) {
	t.Parallel()
	a := newAttackOnEvolution(t)
	dir := t.TempDir()
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=true")
	before := a.SortedDump()
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "unpatched: ", "changed=true")
	pgtest.Exec(t, a.asEvo, `DELETE FROM "OpenaiCreds" WHERE id = 'c1'`)
	a.restoreAll(dir)
	a.ExpectSortedDump(before)
	if owner := a.Text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != a.evo {
		t.Errorf("the function belongs to %q, want %q", owner, a.evo)
	}
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_ACTION=status").Expect(t, 0, "patched: ")
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "patched: ", "changed=false")
}
