package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	"domain":                          {`CREATE DOMAIN secret AS text; ` + alterKey("secret"), true, 3, "failed: ", pgtest.OfType + "evolution_api.secret"},
	"name":                            {alterKey("name"), true, 3, "failed: ", pgtest.OfType + "name"},
	"char":                            {alterKey("char(255)"), true, 3, "failed: ", pgtest.OfType + "character"},
	"bytea":                           {alterKey(`bytea USING convert_to("apiKey", 'UTF8')`), true, 3, "failed: ", pgtest.OfType + "bytea"},
	"jsonb":                           {alterKey(`jsonb USING to_jsonb("apiKey")`), true, 3, "failed: ", pgtest.OfType + "jsonb"},
	"integer":                         {alterKey(`int USING 1`), false, 3, "failed: ", pgtest.OfType + "integer"},
	"text":                            {alterKey("text"), true, 0, "patched: ", ""},
	"generated":                       {`ALTER TABLE "OpenaiCreds" DROP COLUMN "apiKey", ADD "apiKey" text GENERATED ALWAYS AS (name) STORED`, false, 3, "failed: ", `column \"apiKey\" of \"evolution_api\".\"OpenaiCreds\" is generated`},
	"collation":                       {`CREATE COLLATION folded (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false); ` + alterKey("text COLLATE folded"), true, 3, "failed: ", "nondeterministic collation"},
	"exclusion":                       {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT one_each EXCLUDE ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"one_each\"`},
	"exclusion by hash":               {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT one_each EXCLUDE USING hash ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"one_each\"`},
	"exclusion of our name":           {`DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "OpenaiCreds_apiKey_key" EXCLUDE ("apiKey" WITH =)`, false, 3, "failed: ", `exclusion constraint \"OpenaiCreds_apiKey_key\"`},
	"unique with a constant":          {`CREATE UNIQUE INDEX once ON "OpenaiCreds"("apiKey", (1))`, false, 3, "failed: ", pgtest.MayForbidSecond},
	"unique of the whole row":         {`CREATE FUNCTION key_of("OpenaiCreds") RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1."apiKey"'; CREATE UNIQUE INDEX once ON "OpenaiCreds"(key_of("OpenaiCreds".*))`, false, 3, "failed: ", "unique index evolution_api.once"},
	"stripped afterwards":             {createStrip + `CREATE TRIGGER zz BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, false, 3, "failed: ", `trigger \"zz\" of`},
	"stripped before":                 {createStrip + `CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, false, 0, "patched: ", ""},
	"CHECK, a key":                    {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" = btrim("apiKey"))`, true, 3, "failed: ", `index \"bare\"`},
	"CHECK by a pattern":              {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" !~ ' $')`, true, 3, "failed: ", `index \"bare\"`},
	"CHECK, not validated":            {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("apiKey" !~ ' $') NOT VALID`, true, 3, "failed: ", `index \"bare\"`},
	"CHECK of the row":                {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT bare CHECK ("OpenaiCreds"::text !~ ' "')`, true, 3, "failed: ", `index \"bare\"`},
	"CHECK of the length":             {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") <= 100)`, true, 0, "patched: ", ""},
	"CHECK of the length, no key":     {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") <= 100)`, false, 0, "patched: ", ""},
	"foreign key":                     {`CREATE TABLE known (k varchar(255) PRIMARY KEY); INSERT INTO known SELECT "apiKey" FROM "OpenaiCreds"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT listed FOREIGN KEY ("apiKey") REFERENCES known`, true, 3, "failed: ", `index \"listed\"`},
	"foreign key, deferred":           {`CREATE TABLE known (k varchar(255) PRIMARY KEY); INSERT INTO known SELECT "apiKey" FROM "OpenaiCreds"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT listed FOREIGN KEY ("apiKey") REFERENCES known DEFERRABLE INITIALLY DEFERRED`, true, 3, "failed: ", `index \"listed\"`},
	"foreign key, not valid":          {`CREATE TABLE known (k varchar(255) PRIMARY KEY); ALTER TABLE "OpenaiCreds" ADD CONSTRAINT listed FOREIGN KEY ("apiKey") REFERENCES known NOT VALID`, true, 3, "failed: ", `index \"listed\"`},
	"foreign key, no key":             {`CREATE TABLE known (k varchar(255) PRIMARY KEY); ALTER TABLE "OpenaiCreds" ADD CONSTRAINT listed FOREIGN KEY ("apiKey") REFERENCES known`, false, 3, "failed: ", `foreign key \"listed\"`},
	"foreign key that lists both":     {`CREATE TABLE known (k varchar(255) PRIMARY KEY); INSERT INTO known SELECT "apiKey" FROM "OpenaiCreds"; INSERT INTO known SELECT k || ' ' FROM known; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT listed FOREIGN KEY ("apiKey") REFERENCES known`, true, 0, "patched: ", ""},
	"unique when computed":            {`ALTER TABLE "OpenaiCreds" ADD COLUMN hidden text GENERATED ALWAYS AS (rtrim("apiKey")) STORED; CREATE UNIQUE INDEX once ON "OpenaiCreds"(hidden)`, true, 3, "failed: ", `evolution_api.once`},
	"unique when computed, no key":    {`ALTER TABLE "OpenaiCreds" ADD COLUMN hidden text GENERATED ALWAYS AS (md5(btrim("apiKey"))) STORED UNIQUE`, false, 3, "failed: ", `OpenaiCreds_hidden_key`},
	"unique with an instance":         {`ALTER TABLE "OpenaiCreds" ADD COLUMN hidden text GENERATED ALWAYS AS (rtrim("apiKey")) STORED; CREATE UNIQUE INDEX once ON "OpenaiCreds"(hidden, "instanceId")`, true, 0, "patched: ", ""},
	"trigger that forbids":            {`CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'key % may not change', OLD."apiKey" USING CONSTRAINT = OLD."apiKey", TABLE = OLD."apiKey"; END$$; CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION forbid()`, true, 3, "failed: ", `trigger \"aa\"`},
	"trigger that pretends":           {`CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'key %', OLD."apiKey" USING ERRCODE = '22012'; END$$; CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION forbid()`, true, 3, "failed: ", `trigger \"aa\"`},
	"trigger that cancels":            {`CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'key %', OLD."apiKey" USING ERRCODE = '57014'; END$$; CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION forbid()`, true, 1, "failed: ", `57014`},
	"trigger that asserts":            {`CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN ASSERT false, OLD."apiKey"; RETURN NEW; END$$; CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION forbid()`, true, 3, "failed: ", `trigger \"aa\"`},
	"trigger of the clock":            {`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."updatedAt" := now(); RETURN NEW; END'; CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION touch()`, true, 0, "patched: ", ""},
	"trigger of the clock, no key":    {`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW."updatedAt" := now(); RETURN NEW; END'; CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION touch()`, false, 0, "patched: ", ""},
	"stripped before, a key":          {createStrip + `CREATE TRIGGER aa BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, true, 0, "patched: ", ""},
	"stripped after":                  {createStrip + `CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, true, 3, "failed: ", `trigger \"zz\"`},
	"stripped on other updates":       {createStrip + `CREATE TRIGGER zz BEFORE INSERT OR UPDATE OF name ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, true, 3, "failed: ", `trigger \"zz\"`},
	"publication without an identity": {`ALTER TABLE "OpenaiCreds" REPLICA IDENTITY NOTHING; CREATE PUBLICATION %[1]s FOR TABLE "OpenaiCreds"`, true, 3, "failed: ", "55000"},
	"CHECK that allows it":            {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") > 3)`, true, 0, "patched: ", ""},
	"CHECK of another column":         {`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT named CHECK (name <> '')`, false, 0, "patched: ", ""},
	"undone by a trigger":             {createStrip + `CREATE TRIGGER zz BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`, true, 3, "failed: ", pgtest.Undone + `trigger \"zz\"`},
	"undone by a rule":                {`CREATE RULE nothing AS ON UPDATE TO "OpenaiCreds" DO INSTEAD NOTHING`, true, 3, "failed: ", pgtest.Undone + `rule \"nothing\"`},
	"replica":                         {`ALTER ROLE %[1]s SET session_replication_role = replica`, true, 3, "failed: ", pgtest.IsReplica + "for role "},
	"row security":                    {`ALTER TABLE "OpenaiCreds" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`, true, 3, "failed: ", pgtest.HiddenRows},
	"unreadable":                      {`REVOKE ALL ON "OpenaiCreds" FROM %[1]s`, true, 1, "failed: ", pgtest.MayNotRead},
}

// A table is refused if the space cannot be added to its keys, makes no difference or is removed again. The program never
// reports patched if a second instance is refused the key, and never makes an insert of Evolution's fail.
func TestPaddingThatWouldNotHold(t *testing.T) {
	t.Parallel()
	for name, c := range paddingCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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

// What no stored key shows is left to be tried: where that cannot be, a warning names it. The change itself shows it, and ends the warning.
func TestUntried(t *testing.T) {
	t.Parallel()
	const (
		check   = `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT long CHECK (length("apiKey") > 3); `
		trigger = `CREATE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION named(); `
	)
	d := pgtest.NewEvolution(t, "public")
	d.Exec(check + trigger)
	warned := func(o pgtest.Outcome, names ...string) {
		t.Helper()
		for _, name := range []string{"long", "zz", "late"} {
			if got := strings.Contains(o.Stderr, pgtest.Untried) && strings.Contains(o.Stderr, name); got != slices.Contains(names, name) {
				t.Errorf("a warning names %s: %t\n%s", name, got, o.Stderr)
			}
		}
	}
	status := func() pgtest.Outcome { return d.Patch(pgtest.AllFixes, "PATCH_ACTION=status") }
	warned(status(), "long", "zz")
	o := d.Patch(pgtest.AllFixes)
	o.Expect(t, 0, "patched: ", "changed=true")
	warned(o, "long", "zz")
	warned(status(), "long", "zz")

	d.Register("2.3", "i1", "one", pgtest.APIKey)
	warned(status())
	d.Exec(`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`)
	d.Register("2.3", "i2", "two", "sk-late")
	warned(d.Patch(pgtest.AllFixes, "PATCH_DRY_RUN=true"), "long", "zz")
	warned(d.Patch(pgtest.AllFixes))

	d.Exec(`ALTER TABLE "OpenaiCreds" ADD CONSTRAINT late CHECK ("apiKey" = rtrim("apiKey")) NOT VALID`)
	warned(status(), "late")
	warned(d.Patch(pgtest.AllFixes, "PATCH_ACTION=revert"))
}

// The refusal of a trigger that runs after the padding says what helps, which does.
func TestTriggerThatSortsAfterIsRenamed(t *testing.T) {
	t.Parallel()
	for when, stored := range map[string]bool{"INSERT": false, "INSERT OR UPDATE": true} {
		d := pgtest.NewEvolution(t, "public")
		if stored {
			d.Register("2.3", "i3", "three", "sk-stored")
		}
		d.Exec(createStrip + `CREATE TRIGGER strip BEFORE ` + when + ` ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION strip()`)
		before := d.Dump()
		d.Patch(pgtest.AllFixes).Expect(t, 3, "failed: ", `trigger \"strip\"`, pgtest.SortsBefore+"evolution_openai_patch")
		d.ExpectDump(before)
		d.Exec(`ALTER TRIGGER strip ON "OpenaiCreds" RENAME TO before_padding`)
		d.Patch(pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=true")
		for _, instance := range []string{"i1", "i2"} {
			if d.Register("2.3", instance, instance, pgtest.APIKey) != 201 {
				t.Errorf("instance %s is refused the shared key", instance)
			}
		}
	}
}

// Whatever a row or a trigger makes of it, neither the program nor the server's log tells a key.
func TestNoKeyInTheServersLog(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	for name, c := range map[string]struct{ sql, action string }{
		"CHECK":                {`ALTER TABLE "OpenaiCreds" ADD CHECK ("apiKey" !~ ' $')`, "apply"},
		"foreign key":          {`CREATE TABLE known (k varchar(255) PRIMARY KEY); INSERT INTO known SELECT "apiKey" FROM "OpenaiCreds"; ALTER TABLE "OpenaiCreds" ADD FOREIGN KEY ("apiKey") REFERENCES known`, "apply"},
		"unique index":         {`CREATE UNIQUE INDEX ON "OpenaiCreds" ((length("apiKey") > 0), ("apiKey" || '  '), name, (1))`, "apply"},
		"trigger's words":      {raises(`''`), "apply"},
		"trigger's state":      {raises(`'57014'`), "apply"},
		"trigger's constraint": {raises(`'23514'`), "apply"},
		"cast":                 {`CREATE INDEX ON "OpenaiCreds" ((CASE WHEN "apiKey" LIKE '% ' THEN "apiKey"::text::numeric END))`, "apply"},
		"shared":               {`DROP INDEX "OpenaiCreds_apiKey_key"; INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") SELECT 'c' || i, 'n' || i, "apiKey", now(), "instanceId" FROM "OpenaiCreds", generate_series(1, 9) AS i`, "revert"},
		"many, shared":         {`DROP INDEX "OpenaiCreds_apiKey_key"; SET min_parallel_table_scan_size = 0; INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") SELECT 'c' || i, 'n' || i, "apiKey", now(), "instanceId" FROM "OpenaiCreds", generate_series(1, 9000) AS i; ALTER TABLE "OpenaiCreds" SET (parallel_workers = 4)`, "revert"},
	} {
		t.Run(name, func(t *testing.T) {
			d := server.NewDatabase(t, "public")
			d.Migrate(pgtest.Last)
			d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one')`)
			d.Exec(fmt.Sprintf(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c', 'one', '%s', now(), 'i1')`, pgtest.APIKey))
			d.Exec(c.sql)
			d.Patch(pgtest.AllFixes, "PATCH_ACTION="+c.action).ExpectCode(t, 0, 1, 3)
			log, err := os.ReadFile(filepath.Join(d.Server.Dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, pgtest.APIKey) && !strings.Contains(line, "INSERT INTO") {
					t.Errorf("the server's log: %s", line)
				}
			}
		})
	}
}

// raises returns a trigger that quotes the key in an error with this SQLSTATE.
func raises(state string) string {
	return `CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'key % may not change', OLD."apiKey"
		USING CONSTRAINT = OLD."apiKey", DETAIL = OLD."apiKey", TABLE = OLD."apiKey", ERRCODE = coalesce(nullif(` + state + `, ''), 'P0001'); END$$;
		CREATE TRIGGER aa BEFORE UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION forbid()`
}
