package attack

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Of several schemas of one database, those in which a tenant has stored what is too large to be read are refused, and named. The
// others are patched.
func TestAttackOnOtherSchemasBySize(t *testing.T) {
	t.Parallel()
	d := pgtest.NewDatabase(t, "public")
	for schema, sql := range map[string]string{
		"a_row":        `ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_pkey"; INSERT INTO "OpenaiCreds"(id, "apiKey") VALUES (repeat('x', 2000000), 'sk-one')`,
		"b":            ``,
		"c_list":       `ALTER TABLE "_prisma_migrations" ALTER migration_name TYPE text; INSERT INTO "_prisma_migrations" VALUES (repeat('x', 2000000), now())`,
		"d":            ``,
		"e_triggers":   `CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; DO 'BEGIN FOR i IN 1..1500 LOOP EXECUTE format(''CREATE TRIGGER t%s AFTER DELETE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION spring()'', i); END LOOP; END'`,
		"f_backup":     `ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_pkey", ALTER name TYPE text; DROP INDEX "OpenaiCreds_name_key"; INSERT INTO "OpenaiCreds"(id, name, "apiKey") VALUES ('x', repeat('x', 2000000), 'sk-one')`,
		"g":            ``,
		"h_long_key":   `ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; DROP INDEX "OpenaiCreds_apiKey_key"; INSERT INTO "OpenaiCreds"(id, "apiKey") VALUES ('x', repeat('x', 2000000))`,
		"h_long_owner": `INSERT INTO "OpenaiCreds"(id, "apiKey", "instanceId") VALUES ('x', 'sk-two', repeat('x', 2000000))`,
		"i_long_text":  `CREATE INDEX "OpenaiCreds_text" ON "OpenaiCreds" ("apiKey") WHERE id <> '` + strings.Repeat("x", 5000) + `'`,
	} {
		d.Exec(fmt.Sprintf(`CREATE SCHEMA %[1]s; SET search_path TO %[1]s; `, schema) + pgtest.SmallDump + `;` + sql)
	}
	o := d.Patch("PATCH_SCHEMAS=*", pgtest.AllFixes, "PATCH_BACKUP_DIR="+t.TempDir())
	o.ExpectCode(t, 3)
	for line := range strings.Lines(o.Stdout) {
		schema := regexp.MustCompile(`schema=(\w+)`).FindStringSubmatch(line)[1]
		state, _, _ := strings.Cut(line, ":")
		want := "failed"
		if len(schema) == 1 || schema == "i_long_text" { // what is not unique forbids nothing
			want = "patched"
		}
		if state != want || want == "failed" && !strings.Contains(line, pgtest.IsRefused) {
			t.Errorf("%s is %s, want %s: %s", schema, state, want, line)
		}
	}
	if n := strings.Count(o.Stdout, "\n"); n != 10 {
		t.Errorf("%d lines, want 10", n)
	}
	d.Patch("PATCH_SCHEMAS=*", pgtest.AllFixes, "PATCH_ACTION=status").ExpectCode(t, 3)
}

// The message about a key that is too long names the credential or, where its id is too long as well, the SQL that finds it.
func TestAttackByALongKey(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text`)
	insert := func(id string, length int) {
		d.Exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ($1, repeat('\', $2), now(), 'i1')`, id, length)
	}
	insert("longest", 256<<10)
	d.Patch(pgtest.AllFixes, "PATCH_DRY_RUN=true").Expect(t, 0, "unpatched: ")
	insert("cuid-of-the-long", 256<<10+1)
	d.Patch(pgtest.AllFixes).Expect(t, 3, "failed: ", pgtest.IsRefused, `\"apiKey\" of \"evolution_api\".\"OpenaiCreds\"`, "cuid-of-the-long")
	d.Exec(`DELETE FROM "OpenaiCreds" WHERE id LIKE 'cuid%'`)
	id := strings.Repeat("i", 500)
	insert(id, 300<<10)
	o := d.Patch(pgtest.AllFixes)
	o.Expect(t, 3, "failed: ", pgtest.IsRefused)
	sql := strings.ReplaceAll(regexp.MustCompile(`SELECT ctid.* > \d+`).FindString(o.Stdout), `\"`, `"`)
	if found := d.Text(`SELECT count(*) FROM (` + sql + `) AS found`); found != "1" {
		t.Errorf("%s finds %s credentials, want 1", sql, found)
	}
	d.Patch(pgtest.IndexOnly).Expect(t, 0, "patched: ") // of which no key is part
}
