package lab

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// What a run may hold in memory whatever is stored, in kB, and the longest line that it may print, in bytes.
const (
	memoryLimit = 24 << 10
	longestLine = 8 << 10
)

// hoard is something that a tenant can store, and the exit statuses of apply and revert where it is found.
type hoard struct {
	sql           string
	apply, revert []int
}

var (
	done    = []int{0}
	refused = []int{3}
	either  = []int{0, 3}
	fails   = []int{1, 3} // no index takes a value as long
)

// many returns a block that executes a statement once for each number i. "%s" in the statement is replaced by it.
func many(n int, statement string) string {
	return fmt.Sprintf(`DO $many$ BEGIN FOR i IN 1..%d LOOP EXECUTE replace($sql$%s$sql$, '%%s', i::text); END LOOP; END $many$;`, n, statement)
}

// large returns a block that executes a statement in which "%s" is replaced by so many bytes.
func large(bytes int, statement string) string {
	return fmt.Sprintf(`DO $large$ BEGIN EXECUTE replace($sql$%s$sql$, '%%s', repeat('x', %d)); END $large$;`, statement, bytes)
}

const (
	ours       = `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS `
	spring     = `CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; `
	keyText    = `ALTER TABLE "OpenaiCreds" ALTER "apiKey" TYPE text; DROP INDEX "OpenaiCreds_apiKey_key"; `
	insertInto = `INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") `
	megabyte   = 1_000_000
	stored     = 5 * megabyte // on each of four connections more than memoryLimit leaves, and more than the program reads of a server's answer
)

// hoards are stored in Evolution's table with ten credentials.
func hoards() map[string]hoard {
	ten, rows := amount(600, 3000), fmt.Sprint(amount(20_000, 100_000))
	return map[string]hoard{
		"function of our name":     {large(stored, ours+`'BEGIN RETURN NEW; END --%s'`), refused, refused},
		"its settings":             {ours + `'BEGIN RETURN NEW; END';` + large(stored, `ALTER FUNCTION evolution_openai_patch() SET my.setting = '%s'`), refused, refused},
		"its comment":              {large(stored, `COMMENT ON FUNCTION evolution_openai_patch() IS '%s'`), done, done},
		"triggers that call it":    {`CREATE TABLE other (a int);` + many(ten, `CREATE TRIGGER t%s BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION evolution_openai_patch()`), done, refused},
		"argument of a trigger":    {spring + large(stored, `CREATE TRIGGER evolution_openai_patch BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION spring('%s')`), refused, refused},
		"argument of another":      {spring + large(stored, `CREATE TRIGGER z BEFORE INSERT OR UPDATE ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION spring('%s')`), done, done},
		"condition of a trigger":   {spring + large(stored, `CREATE TRIGGER z BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW WHEN (NEW.id <> '%s') EXECUTE FUNCTION spring()`), refused, either},
		"triggers":                 {spring + many(ten, `CREATE TRIGGER t%s BEFORE INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION spring()`), refused, either},
		"indexes":                  {many(ten, `CREATE UNIQUE INDEX x%s ON "OpenaiCreds" ("apiKey")`), either, either},
		"comment on an index":      {large(stored, `CREATE INDEX x ON "OpenaiCreds" ("apiKey"); COMMENT ON INDEX x IS 'evolution-openai-patch %s'; COMMENT ON INDEX "OpenaiCreds_apiKey_key" IS '%s'`), done, done},
		"comments on indexes":      {many(ten, `CREATE INDEX x%s ON "OpenaiCreds" ("apiKey"); DO $$ BEGIN EXECUTE format('COMMENT ON INDEX x%s IS %L', 'evolution-openai-patch' || repeat('x', 10000)); END $$;`), either, either},
		"expression of an index":   {large(100_000, `CREATE UNIQUE INDEX ON "OpenaiCreds" (("apiKey" || left('%s', 1)))`), refused, refused},
		"predicate of an index":    {large(100_000, `CREATE UNIQUE INDEX ON "OpenaiCreds" ("apiKey") WHERE id <> '%s'`), refused, refused},
		"CHECKs":                   {fmt.Sprintf(`DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE "OpenaiCreds" ' || string_agg(format('ADD CONSTRAINT k%%s CHECK (name <> %%L)', i, i), ', ') FROM generate_series(1, %d) AS i); END $$`, min(ten, 2000)), either, either},
		"definition of a CHECK":    {large(2*megabyte, `ALTER TABLE "OpenaiCreds" ADD CHECK ("apiKey" <> '%s') NOT VALID`), done, done},
		"foreign keys":             {`CREATE TABLE other (a text);` + many(ten, `ALTER TABLE other ADD CONSTRAINT k%s FOREIGN KEY (a) REFERENCES "OpenaiCreds"(id)`), either, either},
		"default":                  {large(stored, `ALTER TABLE "OpenaiCreds" ALTER name SET DEFAULT '%s'`), done, done},
		"rules":                    {many(ten, `CREATE RULE r%s AS ON DELETE TO "OpenaiCreds" DO ALSO NOTIFY x`), either, either},
		"children":                 {many(ten/2, `CREATE TABLE child%s () INHERITS ("OpenaiCreds")`), refused, either},
		"collations":               {`ALTER TABLE "OpenaiCreds" ALTER name TYPE varchar(255) COLLATE "C";` + many(2*ten, `CREATE COLLATION c%s (provider = icu, locale = 'und', deterministic = false)`), either, either},
		"columns":                  {many(1500, `ALTER TABLE "OpenaiCreds" ADD column_of_a_name_of_some_length_%s int`), either, either},
		"long names":               {spring + many(200, `CREATE TRIGGER "t%s""""""""""""""""""""""""""""""""""""""""""""""""""""""" AFTER INSERT ON "OpenaiCreds" FOR EACH ROW EXECUTE FUNCTION spring(); CREATE INDEX "i%s`+"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01"+`" ON "OpenaiCreds" ("apiKey")`), either, either},
		"key of 5 MB":              {keyText + large(stored, insertInto+`VALUES ('large', 'n', '%s', now(), 'i1')`), refused, fails},
		"key of 257 KiB":           {keyText + large(257<<10, insertInto+`VALUES ('large', 'n', '%s', now(), 'i1')`), refused, fails},
		"key of 255 KiB":           {keyText + large(255<<10, insertInto+`VALUES ('large', 'n', '%s', now(), 'i1')`), done, fails},
		"keys of 250 KiB":          {keyText + many(40, insertInto+`VALUES ('large%s', 'n%s', repeat('%s', 100000), now(), 'i1')`), done, done},
		"id of 1 MB":               {`ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_pkey" CASCADE;` + large(megabyte, insertInto+`VALUES ('%s', 'n', 'sk-large', now(), 'i1')`), either, either},
		"id of 2 MB":               {`ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_pkey" CASCADE;` + large(2*megabyte, insertInto+`VALUES ('%s', 'n', 'sk-large', now(), 'i1')`), refused, either},
		"name of 5 MB":             {`ALTER TABLE "OpenaiCreds" ALTER name TYPE text; DROP INDEX "OpenaiCreds_name_key";` + large(stored, insertInto+`VALUES ('large', '%s', 'sk-large', now(), 'i1')`), either, fails},
		"name of a migration":      {`ALTER TABLE "_prisma_migrations" ALTER migration_name TYPE text;` + large(stored, `UPDATE "_prisma_migrations" SET migration_name = migration_name || '%s'`), refused, refused},
		"logs of a migration":      {large(stored, `UPDATE "_prisma_migrations" SET logs = '%s'`), done, done},
		"migrations":               {`INSERT INTO "_prisma_migrations"(id, checksum, migration_name, finished_at) SELECT i, 'x', '20240101000000_' || i, now() FROM generate_series(1, 200000) AS i`, done, done},
		"migrations that failed":   {`INSERT INTO "_prisma_migrations"(id, checksum, migration_name) SELECT i, 'x', repeat('\', 255) FROM generate_series(1, 200000) AS i`, done, done},
		"statistics":               {many(ten, `CREATE STATISTICS s%s ON id, name FROM "OpenaiCreds"`), either, either},
		"keys that end in spaces":  {insertInto + `SELECT 'c' || i, 'n' || i, 'sk-' || i || repeat(' ', i % 4), now(), 'i1' FROM generate_series(1, ` + rows + `) AS i`, done, done},
		"credentials with one key": {`DROP INDEX "OpenaiCreds_apiKey_key"; ` + insertInto + `SELECT 'c' || i, 'n' || i, 'sk-shared-by-all', now(), 'i1' FROM generate_series(1, ` + rows + `) AS i`, done, refused},
		"one key in one instance":  {`DROP INDEX "OpenaiCreds_apiKey_key"; ` + insertInto + `SELECT 'c' || i, 'n' || i, 'sk-' || i % 10000, now(), 'i1' FROM generate_series(1, ` + rows + `) AS i`, done, either},
		"pairs with one key":       {`DROP INDEX "OpenaiCreds_apiKey_key"; ` + insertInto + `SELECT 'c' || i, 'n' || i, 'sk-shared-by-two' || i / 2, now(), 'i1' FROM generate_series(1, ` + rows + `) AS i`, done, refused},
	}
}

// Whatever a tenant stores in Evolution's table, or attaches to it, the program looks, changes and reverts in little memory, and
// prints no long line. It does so over as many connections as it may have, each of which meets the same.
func TestMemoryWhateverIsStored(t *testing.T) {
	t.Parallel()
	for name, h := range hoards() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := pgtest.NewEvolution(t, "evolution_api")
			if strings.Contains(h.sql, "evolution_openai_patch()") && !strings.Contains(h.sql, "CREATE FUNCTION evolution_openai_patch") {
				d.Exec(ours + `'BEGIN NEW."apiKey" := rtrim(NEW."apiKey", '' '') || '' ''; RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW; END'`)
			}
			d.Exec(h.sql)
			runInLittleMemory(t, d, "PATCH_ACTION=status").ExpectCode(t, 3, 5)
			runInLittleMemory(t, d, "PATCH_DRY_RUN=true", "PATCH_LOG_FORMAT=json").ExpectCode(t, h.apply...)
			runInLittleMemory(t, d, "PATCH_BACKUP_DIR="+t.TempDir()).ExpectCode(t, h.apply...)
			runInLittleMemory(t, d, "PATCH_ACTION=revert", "PATCH_LOG_FORMAT=json").ExpectCode(t, h.revert...)
		})
	}
}

// runInLittleMemory runs the program with all fixes, over four connections to the database unless the environment says otherwise.
func runInLittleMemory(t *testing.T, d *pgtest.Database, environ ...string) pgtest.Outcome {
	t.Helper()
	uri := "DATABASE_CONNECTION_URI=" + strings.Repeat(d.URI()+" ", 4)
	var peak int
	var o pgtest.Outcome
	for attempt := 0; peak == 0 && attempt < 5; attempt++ { // on a busy machine a run may be over before anybody has looked
		p := pgtest.Start(t, append([]string{pgtest.AllFixes, "PATCH_LOG_LEVEL=debug", uri}, environ...)...)
		peak, o = p.PeakMemory(), p.Wait()
	}
	if t.Logf("%v: %d kB", environ, peak); peak == 0 || peak > memoryLimit {
		t.Errorf("%v used %d kB, the limit is %d", environ, peak, memoryLimit)
	}
	for line := range strings.Lines(o.Stdout + o.Stderr) {
		if len(line) > longestLine {
			t.Errorf("%v printed a line of %d bytes: %.200s", environ, len(line), line)
		}
		if strings.Contains(strings.Join(environ, " "), "=json") && !json.Valid([]byte(line)) {
			t.Errorf("%v printed what is no JSON: %.200s", environ, line)
		}
	}
	return o
}

// The same for what is stored elsewhere in the database, or instead of Evolution's table.
func TestMemoryWhateverIsStoredElsewhere(t *testing.T) {
	t.Parallel()
	t.Run("functions in the schema of the guard", func(t *testing.T) {
		t.Parallel()
		d := pgtest.NewDatabase(t, "evolution_api")
		runInLittleMemory(t, d, pgtest.Guard).ExpectCode(t, 0)
		schema := regexp.MustCompile(`evolution_openai_patch_\w+`).FindString(d.GuardObjects())
		d.Exec(many(amount(1000, 10_000), `CREATE FUNCTION `+schema+`.f%s() RETURNS int LANGUAGE sql AS 'SELECT 1'`))
		d.Exec(large(stored, `CREATE FUNCTION `+schema+`.large() RETURNS int LANGUAGE sql AS 'SELECT 1 --%s'`))
		d.Exec(many(amount(1000, 10_000), `CREATE TABLE `+schema+`.t%s ()`))
		runInLittleMemory(t, d, pgtest.Guard).ExpectCode(t, 0, 3, 4)
		runInLittleMemory(t, d, "PATCH_ACTION=status").ExpectCode(t, 0, 3)
	})
	t.Run("functions in other schemas under its name", func(t *testing.T) {
		t.Parallel()
		d := pgtest.NewDatabase(t, "evolution_api")
		d.Exec(many(1001, `CREATE SCHEMA evolution_openai_patch_%s; CREATE FUNCTION evolution_openai_patch_%s.f() RETURNS int LANGUAGE plpgsql
			AS $f$-- evolution-openai-patch {"schema": "`+strings.Repeat("x", 15_000)+`%s"}
			BEGIN END $f$`))
		runInLittleMemory(t, d, "PATCH_SCHEMAS=*", "PATCH_ACTION=revert").ExpectCode(t, 0)
	})
	t.Run("schemas", func(t *testing.T) {
		t.Parallel()
		d := pgtest.NewDatabase(t, "evolution_api")
		d.Exec(many(1050, `CREATE SCHEMA "s%s`+strings.Repeat(`""`, 50)+`"; CREATE TABLE "s%s`+strings.Repeat(`""`, 50)+`"."OpenaiCreds" (id text, "apiKey" varchar(255), name varchar(255));
			CREATE UNIQUE INDEX ON "s%s`+strings.Repeat(`""`, 50)+`"."OpenaiCreds" ("apiKey")`))
		runInLittleMemory(t, d, "PATCH_ACTION=status").ExpectCode(t, 0)
		connections := amount(2, 4) // each of which looks at a thousand schemas
		uri := "DATABASE_CONNECTION_URI=" + strings.Repeat(d.URI()+" ", connections)
		o := runInLittleMemory(t, d, uri, "PATCH_DRY_RUN=true", "PATCH_SCHEMAS=*", "PATCH_LOG_FORMAT=json")
		lines, more := strings.Count(o.Stdout, "\n"), strings.Count(o.Stdout, `"schema":"*"`)
		if o.ExpectCode(t, 3); lines-more != connections*1000 || more != connections {
			t.Errorf("%d schemas were handled, and %d times there were too many", lines-more, more)
		}
	})
}
