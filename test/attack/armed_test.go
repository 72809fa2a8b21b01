package attack

import (
	"context"
	"fmt"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// Columns of a table like Evolution's, and the unique indexes that use a guard up if they are.
const (
	likeEvolutions = `(id text PRIMARY KEY, "apiKey" varchar(255), "createdAt" timestamp, "updatedAt" timestamp, "instanceId" text, name varchar(255))`
	keyIndex       = `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`
	nameIndex      = `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`
	dropTable      = `DROP TABLE "OpenaiCreds"`
)

// A decoy is what somebody creates to use the guard up.
type decoy struct {
	since   int      // the PostgreSQL release from which on it exists
	prepare string   // what the superuser does before
	sql     []string // a statement each, of which none is refused
}

// decoys of which the guard is to make nothing, whoever creates them.
var decoys = map[string]decoy{
	"another column":      {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"(name)`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"("apiKey")`}},
	"no other column":     {sql: []string{`CREATE TABLE "OpenaiCreds" ("apiKey" text, name text)`, keyIndex, nameIndex}},
	"a column less":       {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `ALTER TABLE "OpenaiCreds" DROP COLUMN "instanceId"`, keyIndex, nameIndex}},
	"expression":          {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"(lower("apiKey"))`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(lower(name))`}},
	"partial":             {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex + ` WHERE id <> ''`, nameIndex + ` WHERE id <> ''`}},
	"two columns":         {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey", id)`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name, id)`}},
	"included column":     {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex + ` INCLUDE (id)`, nameIndex + ` INCLUDE (id)`}},
	"plain index":         {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`, `CREATE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`}},
	"another type":        {sql: []string{`CREATE TABLE "OpenaiCreds" (id text, "apiKey" int, "instanceId" text, name int)`, keyIndex, nameIndex}},
	"another type of id":  {sql: []string{`CREATE TABLE "OpenaiCreds" (id int, "apiKey" text, "instanceId" int, name text)`, keyIndex, nameIndex}},
	"domain":              {sql: []string{`CREATE DOMAIN k AS varchar(255)`, `CREATE TABLE "OpenaiCreds" (id text, "apiKey" k, "instanceId" text, name k)`, keyIndex, nameIndex, `DROP TABLE "OpenaiCreds"`, `DROP DOMAIN k`}},
	"generated column":    {sql: []string{`CREATE TABLE "OpenaiCreds" (id text, "instanceId" text, "apiKey" text GENERATED ALWAYS AS (upper(id)) STORED, name text)`, keyIndex, nameIndex}},
	"partitioned":         {sql: []string{`CREATE TABLE "OpenaiCreds" (id text, "apiKey" text, "instanceId" text, name text) PARTITION BY LIST ("apiKey")`, keyIndex}},
	"partition":           {sql: []string{`CREATE TABLE parent (id text, "apiKey" text, "instanceId" text, name text) PARTITION BY LIST (id)`, `CREATE TABLE "OpenaiCreds" PARTITION OF parent DEFAULT`, keyIndex, nameIndex}},
	"materialized view":   {sql: []string{`CREATE MATERIALIZED VIEW "OpenaiCreds" AS SELECT ''::text AS id, ''::text AS "apiKey", ''::text AS "instanceId", ''::text AS name`, keyIndex, nameIndex}},
	"view":                {sql: []string{`CREATE TABLE t ` + likeEvolutions, `CREATE VIEW "OpenaiCreds" AS SELECT * FROM t`, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON t("apiKey")`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON t(name)`}},
	"temporary table":     {sql: []string{`CREATE TEMP TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON pg_temp."OpenaiCreds"("apiKey")`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON pg_temp."OpenaiCreds"(name)`, `DROP TABLE pg_temp."OpenaiCreds"`}},
	"renamed index":       {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX x ON "OpenaiCreds"("apiKey")`, `ALTER INDEX x RENAME TO "OpenaiCreds_apiKey_key"`, `CREATE UNIQUE INDEX y ON "OpenaiCreds"(name)`, `ALTER INDEX y RENAME TO "OpenaiCreds_name_key"`}},
	"renamed table":       {sql: []string{`CREATE TABLE t ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON t("apiKey")`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON t(name)`, `ALTER TABLE t RENAME TO "OpenaiCreds"`, `CREATE UNIQUE INDEX x ON "OpenaiCreds"(id)`}},
	"renamed column":      {sql: []string{`CREATE TABLE "OpenaiCreds" (id text, other text, "instanceId" text, name text)`, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"(other)`, `ALTER TABLE "OpenaiCreds" RENAME COLUMN other TO "apiKey"`, `CREATE INDEX ON "OpenaiCreds"("apiKey")`}},
	"constraint":          {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "OpenaiCreds_apiKey_key" UNIQUE ("apiKey"), ADD CONSTRAINT "OpenaiCreds_name_key" UNIQUE (name)`, keyIndex[:20] + ` IF NOT EXISTS` + keyIndex[20:]}},
	"spelled differently": {sql: []string{`CREATE TABLE openaicreds ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON openaicreds("apiKey")`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON openaicreds(name)`}},
	"another schema": {
		prepare: `GRANT CREATE ON DATABASE %[1]s TO PUBLIC`,
		sql:     []string{`CREATE SCHEMA mine`, `CREATE TABLE mine."OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON mine."OpenaiCreds"("apiKey")`, `CREATE UNIQUE INDEX "OpenaiCreds_name_key" ON mine."OpenaiCreds"(name)`, `DROP SCHEMA mine CASCADE`},
	},
}

// mallorysDecoys are as Evolution's owner would create them. The guard is to make nothing of them because of whose they are.
var mallorysDecoys = map[string]decoy{
	"exact":           {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex}},
	"dropped":         {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex, dropTable}},
	"one transaction": {sql: []string{`BEGIN`, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex, dropTable, `COMMIT`}},
	"two tables":      {sql: []string{`BEGIN`, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, dropTable, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, nameIndex, dropTable, `COMMIT`}},
	"savepoint":       {sql: []string{`BEGIN`, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `SAVEPOINT a`, keyIndex, `ROLLBACK TO a`, keyIndex, nameIndex, `COMMIT`}},
	"concurrently":    {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE UNIQUE INDEX CONCURRENTLY "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`, `CREATE UNIQUE INDEX CONCURRENTLY "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`}},
	"index dropped":   {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, `DROP INDEX IF EXISTS "OpenaiCreds_apiKey_key"`, nameIndex, `DROP INDEX IF EXISTS "OpenaiCreds_name_key"`}},
	"unlogged":        {sql: []string{`CREATE UNLOGGED TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex}},
	"child":           {sql: []string{`CREATE TABLE parent ` + likeEvolutions, `CREATE TABLE "OpenaiCreds" () INHERITS (parent)`, keyIndex, nameIndex}},
	"in a function":   {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `DO $$ BEGIN ` + keyIndex + `; ` + nameIndex + `; END $$`}},
	"serializable":    {sql: []string{`BEGIN ISOLATION LEVEL SERIALIZABLE`, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex, `COMMIT`}},
	"with its list":   {sql: []string{`CREATE TABLE "_prisma_migrations" (migration_name text, finished_at timestamptz, rolled_back_at timestamptz)`, `INSERT INTO "_prisma_migrations" VALUES ('20251122003044_last', now())`, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex}},
	"with a function": {sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, `CREATE FUNCTION evolution_openai_patch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`, keyIndex, nameIndex, `DROP FUNCTION evolution_openai_patch()`}},
	"nulls":           {since: 15, sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex + ` NULLS NOT DISTINCT`, nameIndex + ` NULLS NOT DISTINCT`}},
	"grant option":    {prepare: `GRANT ALL ON SCHEMA evolution_api TO %[2]s WITH GRANT OPTION; GRANT ALL ON DATABASE %[1]s TO %[2]s WITH GRANT OPTION`, sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex}},
	"member in name":  {since: 16, prepare: `GRANT %[3]s TO %[2]s WITH INHERIT FALSE, SET FALSE`, sql: []string{`CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex}},
	"owner before": {
		prepare: `ALTER SCHEMA evolution_api OWNER TO %[2]s; ALTER DATABASE %[1]s OWNER TO %[2]s`,
		sql:     []string{`BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT count(*) FROM pg_namespace`, handedOver, `CREATE TABLE "OpenaiCreds" ` + likeEvolutions, keyIndex, nameIndex, `COMMIT`},
	},
}

// handedOver stands for the moment at which the superuser takes schema and database away from mallory.
const handedOver = "-- the superuser takes schema and database away"

// Whoever may create tables in Evolution's schema, or Evolution itself by accident, creates something that looks like what the
// guard waits for. The guard stays armed, changes nothing, and makes Evolution's first start right afterwards.
func TestAttackToUseUpTheGuard(t *testing.T) {
	t.Parallel()
	for name, d := range decoys {
		t.Run(name+"/mallory", func(t *testing.T) { d.play(t, "mallory") })
		t.Run(name+"/evo", func(t *testing.T) { d.play(t, "evo") })
	}
	for name, d := range mallorysDecoys {
		if pgtest.Version() >= d.since {
			t.Run(name, func(t *testing.T) { d.play(t, "mallory") })
		}
	}
}

// play lets a role create the decoy.
func (d decoy) play(t *testing.T, attacker string) {
	t.Parallel()
	a := newAttack(t, attacker)
	if d.prepare != "" {
		a.Exec(fmt.Sprintf(d.prepare, a.Name, a.mallory, a.evo))
	}
	a.patchAs("postgres", pgtest.Guard, pgtest.AllFixes, "PATCH_KEEP_INDEX_NAMES=true").Expect(t, 0, "guarded: ", "changed=true")
	before := a.GuardObjects()
	for _, sql := range d.sql {
		if sql == handedOver {
			a.Exec(fmt.Sprintf(`ALTER SCHEMA evolution_api OWNER TO %[2]s; ALTER DATABASE %[1]s OWNER TO postgres; GRANT ALL ON SCHEMA evolution_api TO %[3]s`, a.Name, a.evo, a.mallory))
			continue
		}
		if _, err := a.asAttacker.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if after := a.GuardObjects(); after != before && a.asAttacker.PgConn().TxStatus() == 'I' {
			t.Fatalf("%s\nThere was %s, and is %q", sql, before, after)
		}
	}
	if a.Text(`SELECT count(*) FROM pg_proc WHERE proname = 'evolution_openai_patch'`) != "0" {
		t.Errorf("the guard has created a function: %s", a.patchFunctions())
	}
	a.requireNoStrike("the decoy was created")
	a.Exec(`DO $$ DECLARE sql text; BEGIN
		FOR sql IN SELECT format('DROP %s IF EXISTS %s.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, relnamespace::regnamespace, relname)
			FROM pg_class WHERE relnamespace = 'evolution_api'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') LOOP EXECUTE sql; END LOOP; END $$`)
	a.startEvolution(a.asEvo)
	a.patchAs("postgres", pgtest.AllFixes, "PATCH_ACTION=status").Expect(t, 0, "patched: ")
	a.patchAs("postgres", pgtest.AllFixes).Expect(t, 0, "patched: ", "changed=false")
}
