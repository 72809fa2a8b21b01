package test

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Tables and indexes that Evolution never creates, or that others need as they are.
func TestRefusesWhatOthersNeed(t *testing.T) {
	for name, c := range map[string]struct{ sql, says string }{
		"materialized view": {`ALTER TABLE "OpenaiCreds" RENAME TO real; CREATE MATERIALIZED VIEW "OpenaiCreds" AS SELECT * FROM real`, "is a materialized view"},
		"partition":         {`CREATE TABLE parent (LIKE "OpenaiCreds") PARTITION BY LIST (id); ALTER TABLE parent ATTACH PARTITION "OpenaiCreds" DEFAULT`, "is a partition of another table"},
		"replica identity":  {`ALTER TABLE "OpenaiCreds" ALTER "apiKey" SET NOT NULL, REPLICA IDENTITY USING INDEX "OpenaiCreds_apiKey_key"`, "is the replica identity of"},
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "public")
			d.Exec(c.sql)
			before := d.Dump()
			for _, action := range []string{"apply", "status"} {
				d.Patch("PATCH_ACTION="+action).Expect(t, 3, "failed: ", "changed=false", c.says)
			}
			d.ExpectDump(before)
		})
	}
}

// Only Prisma's lock in this very database means that a migration is running.
func TestLocksOfOthers(t *testing.T) {
	d, other := pgtest.NewEvolution(t, "public"), pgtest.NewDatabase(t, "public")
	pgtest.Exec(t, other.NewConn(), "SELECT pg_advisory_lock(72707369)")
	holder := d.NewConn()
	pgtest.Exec(t, holder, "SELECT pg_advisory_lock(0, 72707369), pg_advisory_lock(1, 72707369), pg_advisory_lock(72707369 + (1::bigint << 32)), pg_advisory_lock(72707370)")
	d.Patch("PATCH_WAIT_TIMEOUT=1s").Expect(t, 0, "patched: ", "changed=true")
}

// A member of the owner's role that does not inherit its rights would have to SET ROLE, which the program never does.
func TestMemberThatDoesNotInherit(t *testing.T) {
	d := pgtest.NewEvolution(t, "public")
	owner, member := d.Name+"_owner", d.Name+"_member"
	d.Exec(`CREATE ROLE ` + owner + `; CREATE ROLE ` + member + ` LOGIN NOINHERIT PASSWORD '` + pgtest.Password + `'; GRANT ` + owner + ` TO ` + member + `;
		ALTER TABLE "OpenaiCreds" OWNER TO ` + owner)
	if d.Major() >= 16 {
		d.Exec(`GRANT ` + owner + ` TO ` + member + ` WITH INHERIT FALSE`)
	}
	before := d.Dump()
	pgtest.Run(t, indexOnly, "DATABASE_CONNECTION_URI="+d.URIAs(member)).Expect(t, 1, "failed: ", "changed=false", "may not change table", owner)
	d.ExpectDump(before)
}

// oneBackup returns the only file in a folder.
func oneBackup(t *testing.T, dir string) string {
	t.Helper()
	files := pgtest.Glob(t, dir, "*")
	if len(files) != 1 || !strings.HasSuffix(files[0], ".sql") {
		t.Fatalf("the backups are %v, want one", files)
	}
	return files[0]
}

// A backup that cannot be restored to its end is not restored at all, and psql says so.
func TestRestoreBesideACredentialWithTheSameKey(t *testing.T) {
	d, dir := pgtest.NewEvolution(t, "public"), t.TempDir()
	d.Register("2.2", "i1", "one", pgtest.APIKey)
	d.Patch(allFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	d.Register("2.2", "i2", "two", pgtest.APIKey)
	d.Exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER; UPDATE "OpenaiCreds" SET "apiKey" = rtrim("apiKey"); ALTER TABLE "OpenaiCreds" ENABLE TRIGGER USER`)
	before := d.SortedDump()
	out, err := d.Psql(oneBackup(t, dir))
	if err == nil || err.Error() != "exit status 3" || !strings.Contains(out, "could not create unique index") {
		t.Errorf("%v\n%s", err, out)
	}
	d.ExpectSortedDump(before)
}

// What the client or the database sets has no part in what is restored; neither have columns that were dropped.
func TestRestoreWithOtherSettings(t *testing.T) {
	d, dir := pgtest.NewEvolution(t, "evolution_api"), t.TempDir()
	d.Exec(`ALTER TABLE "OpenaiCreds" ADD gone text DEFAULT 'x'`)
	d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('a', 'имя', 'ключ', now(), 'i1'), ('b', E'back\\slash', E'\\N''', now(), 'i1')`)
	d.Exec(`ALTER TABLE "OpenaiCreds" DROP COLUMN gone`)
	before := d.SortedDump()
	d.Patch(allFixes, "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	d.Exec(`CREATE FUNCTION evolution_api.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz 'epoch' $$; CREATE SCHEMA decoy; CREATE TABLE decoy."OpenaiCreds" (id text)`)
	for _, setting := range []string{"client_encoding = 'LATIN1'", "standard_conforming_strings = off", "search_path = decoy", "default_transaction_isolation = serializable"} {
		d.Exec("ALTER DATABASE " + d.Name + " SET " + setting)
	}
	d.Restore(oneBackup(t, dir))
	for _, setting := range []string{"client_encoding", "standard_conforming_strings", "search_path", "default_transaction_isolation"} {
		d.Exec("ALTER DATABASE " + d.Name + " RESET " + setting)
	}
	d.Exec(`DROP FUNCTION evolution_api.now(); DROP SCHEMA decoy CASCADE`)
	d.ExpectSortedDump(before)
}

// A change that is made once more, because its COMMIT was lost, does not write a second backup.
func TestOneBackupForAChangeThatIsRepeated(t *testing.T) {
	d, dir := pgtest.NewEvolution(t, "public"), t.TempDir()
	address, done := pgtest.CommitCut{}.Listen(t)
	pgtest.Run(t, "DATABASE_CONNECTION_URI="+d.URIThrough(address), "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "patched: ", "changed=true")
	if !done.Load() {
		t.Fatal("no COMMIT was lost")
	}
	oneBackup(t, dir)
}

// An index of the same name on another table of the schema does not spend the guard.
func TestGuardIsNotSpentOnAnotherTable(t *testing.T) {
	d := pgtest.NewDatabase(t, "public")
	d.Patch(guard, indexOnly).Expect(t, 0, "guarded: ")
	d.Exec(`CREATE TABLE another ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON another("apiKey")`)
	d.Patch(guard, indexOnly).Expect(t, 0, "guarded: ", "changed=false")
	if n := d.Text(`SELECT count(*) FROM pg_indexes WHERE tablename = 'another'`); n != "1" {
		t.Errorf("%s indexes are left on the other table", n)
	}
	d.Exec(`DROP TABLE another`)
	d.Migrate(pgtest.Last)
	d.Patch(indexOnly, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
}
