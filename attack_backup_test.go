package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// restore runs a backup through the real psql as the superuser, as its first lines say; it may fail.
func (s *siege) restore(file string) {
	s.t.Helper()
	cmd, err := pgProgram("psql", "-X", "-h", "localhost", "-p", s.server.port, "-U", "postgres", "-d", s.name)
	if err != nil {
		s.t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.CombinedOutput()
	s.t.Logf("psql of %s: %v\n%s", filepath.Base(file), err, out)
}

// backups are the files that were written.
func backups(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// mark is a file that psql's user can make, and that an attacker wants to.
func (s *siege) mark() string {
	s.t.Helper()
	dir := filepath.Join(s.server.dir, s.name)
	if err := own(dir); err != nil {
		s.t.Fatal(err)
	}
	return filepath.Join(dir, "x")
}

// evo writes SQL and shell commands into what a backup holds, for the superuser who restores it.
func TestAttackThroughTheBackup(t *testing.T) {
	for name, body := range map[string]string{
		"dollar quotes": "BEGIN RETURN NEW; END --$$; ALTER ROLE %[1]s SUPERUSER; SELECT evil.strike(); \\! touch %[2]s\n--; SELECT $$x",
		"psql's line":   "BEGIN RETURN NEW; END --\n\\! touch %[2]s\n\\.\nALTER ROLE %[1]s SUPERUSER;",
		"quotes":        "BEGIN RETURN NEW; END --'; ALTER ROLE %[1]s SUPERUSER; SELECT E'\\'; \\! touch %[2]s\n",
	} {
		for _, action := range []string{"apply", "revert"} {
			t.Run(name+"/"+action, func(t *testing.T) {
				s := besieged(t)
				mark, dir := s.mark(), t.TempDir()
				s.run("postgres", allFixes).expect(t, 0, "patched: ", "changed=true")
				mustExec(t, s.asEvo, `SET check_function_bodies = off`)
				mustExec(t, s.asEvo, `CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $evil$`+fmt.Sprintf(body, s.evo, mark)+`$evil$`)
				before := s.catalog()
				s.run("postgres", allFixes, "PATCH_ACTION="+action, "PATCH_BACKUP_DIR="+dir).expect(t, 3, "evolution_openai_patch")
				s.unchanged(before, action)
				for _, file := range backups(t, dir) {
					s.restore(file)
				}
				s.foiled("restored")
				if exists(mark) {
					t.Error("the restore ran a shell command")
				}
			})
		}
	}
}

// psql ends a comment at a carriage return, and the file's first lines name the schema.
func TestAttackSchemaNameInTheBackup(t *testing.T) {
	for _, end := range []string{"\r", "\n", "\r\n", "\v", "\f", "\u2028", "\u0085"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			s := &siege{database: newDatabase(t, "public")}
			mark, dir := s.mark(), t.TempDir()
			if s.schema = "x" + end + `\! >` + mark + " #"; len(s.schema) > 63 {
				t.Fatalf("%q does not fit into a name: set TMPDIR to something shorter", s.schema)
			}
			s.exec("CREATE SCHEMA " + pgx.Identifier{s.schema}.Sanitize())
			s.exec("SET search_path TO " + pgx.Identifier{s.schema}.Sanitize())
			s.migrate("20251122003044")
			s.exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one')`)
			s.rows(3)
			before := sorted(s.dump())
			s.patch(allFixes, "PATCH_BACKUP_DIR="+dir).expect(t, 0, "patched: ", "changed=true", "backed up")
			for _, file := range backups(t, dir) {
				s.restore(file)
			}
			if exists(mark) {
				t.Error("the restore ran a shell command")
			}
			if after := sorted(s.dump()); after != before {
				t.Errorf("restored:\n%s", firstDifference(before, after))
			}
		})
	}
}

// Everything whose name evo can choose is called something that is SQL where it is not quoted: schema, index, column, and a
// role that owns it all.
func TestAttackNames(t *testing.T) {
	for name, hostile := range map[string]string{
		"newline": "x\n;%s", "carriage return": "x\r;%s", "quote": "x';%s", "double quote": `x";%s`, "backslash": `x\';%s`, "end of comment": "x*/;%s", "comment": "x--\n;%s",
		"dollar quotes": "x$$;%s", "our dollar quotes": "x$guard$;%s", "placeholders": `:'names'%%I%%[1]s$1;%s`, "another placeholder": `:'guard';%s`,
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, "evo")
			owner := fmt.Sprintf(hostile, "SELECT evil.strike();COMMIT;--") + strings.TrimPrefix(s.name, "evolution_")
			q := pgx.Identifier{owner}.Sanitize()
			s.role(owner, "")
			s.exec(fmt.Sprintf(`CREATE SCHEMA %[1]s AUTHORIZATION %[1]s; GRANT %[1]s TO %[2]s`, q, s.evo))
			s.schema = owner
			mustExec(t, s.asEvo, fmt.Sprintf(`SET ROLE %[1]s`, q))
			mustExec(t, s.asEvo, fmt.Sprintf(`SET search_path TO %[1]s`, q))
			s.run("postgres", allFixes, "PATCH_ACTION=status").expect(t, 0, "pending: ")
			s.run("postgres", allFixes, guard).expect(t, 0, "guarded: ")
			s.boot(s.asEvo)
			s.foiled("the guard fires")
			mustExec(t, s.asEvo, fmt.Sprintf(`ALTER TABLE "OpenaiCreds" ADD COLUMN %[1]s text; CREATE UNIQUE INDEX %[1]s ON "OpenaiCreds"("apiKey")`, q))
			dir := t.TempDir()
			s.run("postgres", allFixes, "PATCH_ACTION=status").expect(t, 5, "unpatched: ")
			s.run("postgres", allFixes, "PATCH_DRY_RUN=true").expect(t, 0, "unpatched: ")
			s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_BACKUP_DIR="+dir).expect(t, 0, "patched: ", "changed=true")
			for _, file := range backups(t, dir) {
				s.restore(file)
			}
			s.foiled("restored")
			s.run("postgres", allFixes).expect(t, 0, "patched: ")
			s.run("postgres", allFixes, "PATCH_ACTION=revert").expect(t, 0, "unpatched: ", "changed=true")
		})
	}
}

// What a backup is for still works: rows, indexes, and our own trigger, whose function is evo's as before.
func TestAttackLeavesTheBackupUseful(t *testing.T) {
	s := besieged(t)
	dir := t.TempDir()
	s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=true")
	before := sorted(s.dump())
	s.run("postgres", allFixes, "PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir).expect(t, 0, "unpatched: ", "changed=true")
	mustExec(t, s.asEvo, `DELETE FROM "OpenaiCreds" WHERE id = 'c1'`)
	for _, file := range backups(t, dir) {
		s.restore(file)
	}
	if after := sorted(s.dump()); after != before {
		t.Errorf("restored:\n%s", firstDifference(before, after))
	}
	if owner := s.text(`SELECT proowner::regrole FROM pg_proc WHERE proname = 'evolution_openai_patch'`); owner != s.evo {
		t.Errorf("the function belongs to %q", owner)
	}
	s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true", "PATCH_ACTION=status").expect(t, 0, "patched: ")
	s.run("postgres", allFixes, "PATCH_KEEP_INDEX_NAMES=true").expect(t, 0, "patched: ", "changed=false")
}
