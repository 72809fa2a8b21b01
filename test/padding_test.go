package test

import (
	"fmt"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// All keys that are inserted or updated once the trigger exists end in exactly one space.
func TestEveryStoredKeyEndsInOneSpace(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "evolution_api")
	d.Patch("PATCH_FIXES=apikey-check").Expect(t, 0, "patched: ")
	for key, want := range map[string]string{"a": "a ", "b ": "b ", "c   ": "c ", "": " ", strings.Repeat("d", 254): strings.Repeat("d", 254) + " ", strings.Repeat("e", 255): strings.Repeat("e", 255)} {
		d.Exec(`DELETE FROM "OpenaiCreds"`)
		d.Exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('x', $1, now(), 'i1')`, key)
		if got := d.Text(`SELECT "apiKey" FROM "OpenaiCreds"`); got != want {
			t.Errorf("%q is stored as %q, want %q", key, got, want)
		}
		d.Exec(`UPDATE "OpenaiCreds" SET "apiKey" = $1`, key)
		if got := d.Text(`SELECT "apiKey" FROM "OpenaiCreds"`); got != want {
			t.Errorf("%q is updated to %q, want %q", key, got, want)
		}
	}
	d.Exec(`UPDATE "OpenaiCreds" SET "apiKey" = NULL`)
	d.Patch("PATCH_FIXES=apikey-check").Expect(t, 0, "changed=false")
}

// A function or trigger that differs from the program's is named, and neither replaced nor dropped.
func TestForeignPaddingIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, says string }{
		"other body":       {`CREATE OR REPLACE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`, "function"},
		"definer":          {`ALTER FUNCTION evolution_openai_patch() SECURITY DEFINER`, "function"},
		"no settings":      {`ALTER FUNCTION evolution_openai_patch() RESET ALL`, "function"},
		"immutable":        {`ALTER FUNCTION evolution_openai_patch() IMMUTABLE`, "function"},
		"another's":        {`CREATE ROLE %[1]s_other; ALTER FUNCTION evolution_openai_patch() OWNER TO %[1]s_other`, "function"},
		"with columns":     {`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE OF "apiKey" ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`, "trigger"},
		"with a condition": {`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW WHEN (NEW.name = 'x') EXECUTE FUNCTION evolution_openai_patch()`, "trigger"},
		"insert only":      {`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`, "trigger"},
		"another function": {`CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"; CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION nothing()`, "trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Register("2.3", "i1", "one", pgtest.APIKey)
			d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
			sql := c.sql
			if strings.Contains(sql, "%[1]s") {
				sql = fmt.Sprintf(sql, d.Name)
			}
			d.Exec(sql)
			before := d.Dump()
			for _, action := range []string{"status", "apply", "revert"} {
				d.Patch(pgtest.AllFixes, "PATCH_ACTION="+action).Expect(t, 3, "failed: ", "changed=false", pgtest.IsRefused+c.says)
			}
			d.ExpectDump(before)
		})
	}
}

// A paddingCase is SQL that changes the credentials' table, and what the program says about the result.
type paddingCase struct {
	sql   string // %[1]s is the table's owner
	key   bool   // whether the table contains a key
	code  int
	state string
	says  string
}

// alterKey returns SQL that changes the type of the keys.
func alterKey(kind string) string {
	return `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE ` + kind
}

const createStrip = `CREATE FUNCTION strip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."apiKey" := rtrim(NEW."apiKey"); RETURN NEW; END'; `

var paddingCases = map[string]paddingCase{
	"domain":                  {`CREATE DOMAIN secret AS text; ` + alterKey("secret"), true, 3, "failed: ", pgtest.OfType + "evolution_api.secret"},
	"name":                    {alterKey("name"), true, 3, "failed: ", pgtest.OfType + "name"},
	"char":                    {alterKey("char(255)"), true, 3, "failed: ", pgtest.OfType + "character"},
	"bytea":                   {alterKey(`bytea USING convert_to("apiKey", 'UTF8')`), true, 3, "failed: ", pgtest.OfType + "bytea"},
	"jsonb":                   {alterKey(`jsonb USING to_jsonb("apiKey")`), true, 3, "failed: ", pgtest.OfType + "jsonb"},
	"integer":                 {alterKey(`int USING 1`), false, 3, "failed: ", pgtest.OfType + "integer"},
	"text":                    {alterKey("text"), true, 0, "patched: ", ""},
	"generated":               {`ALTER TABLE "OpenaiCreds" DROP COLUMN "apiKey", ADD "apiKey" text GENERATED ALWAYS AS (name) STORED`, false, 3, "failed: ", `column \"apiKey\" of \"evolution_api\".\"OpenaiCreds\" is generated`},
	"collation":               {`CREATE COLLATION folded (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false); ` + alterKey("text COLLATE folded"), true, 3, "failed: ", "nondeterministic collation"},
	"exclusion":               {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT one_each EXCLUDE ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"one_each\"`},
	"exclusion by hash":       {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT one_each EXCLUDE USING hash ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"one_each\"`},
	"exclusion of our name":   {`DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "OpenaiCreds_apiKey_key" EXCLUDE ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"OpenaiCreds_apiKey_key\"`},
	"unique with a constant":  {`CREATE UNIQUE INDEX once ON "OpenaiCreds"("apiKey", (1))`, false, 3, "failed: ", pgtest.MayForbidSecond},
	"unique of the whole row": {`CREATE FUNCTION key_of("OpenaiCreds") RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1."apiKey"'; CREATE UNIQUE INDEX once ON "OpenaiCreds"(key_of("OpenaiCreds".*))`, false, 3, "failed: ", "unique index evolution_api.once"},
	"stripped afterwards":     {createStrip + `CREATE TRIGGER zz BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, false, 3, "failed: ", `trigger \"zz\" of`},
	"stripped before":         {createStrip + `CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, false, 0, "patched: ", ""},
	"CHECK, no key":           {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" = btrim("apiKey"))`, false, 3, "failed: ", `CHECK constraint \"bare\"`},
	"CHECK, a key":            {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" = btrim("apiKey"))`, true, 1, "failed: ", `violates check constraint \"bare\"`},
	"CHECK that allows it":    {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") > 3)`, true, 0, "patched: ", ""},
	"CHECK of another column": {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT named CHECK (name <> '')`, false, 0, "patched: ", ""},
	"undone by a trigger":     {createStrip + `CREATE TRIGGER zz BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, true, 1, "failed: ", pgtest.Undone + `trigger \"zz\"`},
	"undone by a rule":        {`CREATE RULE nothing AS ON UPDATE TO "OpenaiCreds" DO INSTEAD NOTHING`, true, 1, "failed: ", pgtest.Undone + `rule \"nothing\"`},
	"replica":                 {`ALTER ROLE %[1]s SET session_replication_role = replica`, true, 3, "failed: ", pgtest.IsReplica + "for role "},
	"row security":            {`ALTER TABLE "OpenaiCreds" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`, true, 3, "failed: ", pgtest.HiddenRows},
	"unreadable":              {`REVOKE ALL ON "OpenaiCreds" FROM %[1]s`, true, 1, "failed: ", pgtest.MayNotRead},
}

// A table is refused if the space cannot be added to its keys, makes no difference or is removed again. The program never
// reports patched if a second instance is refused the key, and never makes an insert of Evolution's fail.
func TestPaddingThatWouldNotHold(t *testing.T) {
	t.Parallel()
	for name, c := range paddingCases {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			if c.key {
				d.Register("2.3", "i1", "one", pgtest.APIKey)
			}
			owner := d.Name + "_owner"
			d.Exec(fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD '%[2]s'; ALTER SCHEMA evolution_api OWNER TO %[1]s; ALTER TABLE "_prisma_migrations" OWNER TO %[1]s`, owner, pgtest.Password))
			d.Exec(strings.ReplaceAll(c.sql, "%[1]s", owner))
			d.Exec(fmt.Sprintf(`ALTER TABLE "OpenaiCreds" OWNER TO %s`, owner))
			if name == "unreadable" {
				d.Exec(fmt.Sprintf(`REVOKE ALL ON "OpenaiCreds" FROM %s`, owner))
			}
			before := d.Dump()
			uri := "DATABASE_CONNECTION_URI=" + d.URIAs(owner)
			o := pgtest.Run(t, uri, pgtest.AllFixes)
			o.Expect(t, c.code, c.state, c.says)
			if strings.Contains(o.Stdout+o.Stderr, "%!") {
				t.Error("a formatting verb is printed")
			}
			switch status := pgtest.Run(t, uri, pgtest.AllFixes, "PATCH_ACTION=status"); {
			case c.code == 0:
				status.Expect(t, 0, "patched: ")
				if keys := d.Text(`SELECT count(*) FROM "OpenaiCreds" WHERE "apiKey" NOT LIKE '% '`); keys != "0" {
					t.Errorf("%s keys do not end in a space", keys)
				}
				if d.Register("2.3", "i2", "two", pgtest.APIKey) != 201 {
					t.Error("the second instance is refused the shared key")
				}
			case strings.HasPrefix(status.Stdout, "patched"):
				t.Error("status reports patched")
			case d.Dump() != before:
				t.Error("the database was changed")
			}
		})
	}
}

// A CHECK constraint that is not validated may forbid the space although a stored key ends in one.
func TestCheckThatIsNotValidated(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Exec(`INSERT INTO "OpenaiCreds"(id, "apiKey", "updatedAt", "instanceId") VALUES ('old', 'sk-old ', now(), 'i1')`)
	d.Exec(`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" = rtrim("apiKey")) NOT VALID`)
	before := d.Dump()
	for _, action := range []string{"status", "apply"} {
		d.Patch(pgtest.AllFixes, "PATCH_ACTION="+action).Expect(t, 3, "failed: ", "changed=false", `CHECK constraint \"bare\"`, pgtest.MayForbidSpace)
	}
	d.ExpectDump(before)

	// The same key shows that a constraint which is validated allows the space.
	d.Exec(`ALTER TABLE "OpenaiCreds" DROP CONSTRAINT bare; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") > 3)`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
}

// The refusal of a trigger that runs after the padding says what helps, which does.
func TestTriggerThatSortsAfterIsRenamed(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	d.Exec(createStrip + `CREATE TRIGGER strip BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`)
	d.Patch(pgtest.AllFixes).Expect(t, 3, "failed: ", `trigger \"strip\" of`, pgtest.SortsBefore+"evolution_openai_patch")
	d.Exec(`ALTER TRIGGER strip ON "OpenaiCreds" RENAME TO before_padding`)
	d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
	for _, instance := range []string{"i1", "i2"} {
		if d.Register("2.3", instance, instance, pgtest.APIKey) != 201 {
			t.Errorf("instance %s is refused the shared key", instance)
		}
	}
}
