package test

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestDropsTheIndexAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"public", "evolution_api", `we"ird'; DROP TABLE "Instance"; --`} {
		t.Run(schema, func(t *testing.T) {
			d := pgtest.NewEvolution(t, schema)
			d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c1', 'mine', $1, now(), 'i1')`, pgtest.APIKey)
			before := d.Dump()
			d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 5, "unpatched: ", "apikey-index=unpatched", "evolution=2.3.7")
			d.Patch(pgtest.IndexOnly, "PATCH_DRY_RUN=true").Expect(t, 0, "unpatched: ", `DROP INDEX IF EXISTS `, `; CREATE INDEX "OpenaiCreds_apiKey_key" ON `, `; COMMENT ON INDEX `)
			d.ExpectDump(before)

			d.Patch(pgtest.IndexOnly, pgtest.KeepNoNames).Expect(t, 0, "patched: ", "changed=true", "apikey-index=patched", pgtest.NotEnough)

			if after := d.Dump(); after != pgtest.WithoutIndex(before, "OpenaiCreds_apiKey_key") {
				t.Errorf("the dump differs in more than the index:\n%s", pgtest.FirstDifference(pgtest.WithoutIndex(before, "OpenaiCreds_apiKey_key"), after))
			}
			d.Patch(pgtest.IndexOnly, pgtest.KeepNoNames).Expect(t, 0, "patched: ", "changed=false")
			d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status").Expect(t, 0, "patched: ", pgtest.NotKept+"OpenaiCreds_apiKey_key")
			d.Exec(`INSERT INTO "OpenaiCreds"(id, name, "apiKey", "updatedAt", "instanceId") VALUES ('c2', 'yours', $1, now(), 'i2')`, pgtest.APIKey)
		})
	}
}

// Unique indexes and constraints on the key are found by table and column, not by name.
func TestFindsWhatForbidsTheKey(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"another name":     `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "anything at all"`,
		"constraint":       `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD CONSTRAINT "OpenaiCreds_apiKey_key" UNIQUE ("apiKey")`,
		"deferrable":       `DROP INDEX "OpenaiCreds_apiKey_key"; ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey") DEFERRABLE INITIALLY DEFERRED`,
		"several":          `CREATE UNIQUE INDEX again ON "OpenaiCreds"("apiKey" DESC); ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey")`,
		"invalid":          `UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"OpenaiCreds_apiKey_key"'::regclass`,
		"with more inside": `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey") INCLUDE (name)`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Exec(sql)
			d.Patch(pgtest.KeepNoNames).Expect(t, 0, "patched: ", "changed=true")
			if got := d.Indexes(); got != "OpenaiCreds_name_key OpenaiCreds_pkey" {
				t.Errorf("the indexes are %s", got)
			}
		})
	}
}

func TestLeavesAlone(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"plain index":           `CREATE INDEX plain ON "OpenaiCreds"("apiKey")`,
		"plain, Evolution's":    `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`,
		"two columns":           `CREATE UNIQUE INDEX pair ON "OpenaiCreds"("apiKey", "instanceId")`,
		"key only in predicate": `CREATE UNIQUE INDEX named ON "OpenaiCreds"("name") WHERE "apiKey" IS NOT NULL`,
		"another schema's":      `CREATE SCHEMA other; CREATE TABLE other."OpenaiCreds" ("apiKey" text); CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON other."OpenaiCreds"("apiKey")`,
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Exec(`DROP INDEX "OpenaiCreds_apiKey_key"`)
			d.Exec(sql)
			before := d.Dump()
			d.Patch(pgtest.IndexOnly, pgtest.KeepNoNames).Expect(t, 0, "patched: ", "changed=false")
			d.ExpectDump(before)
		})
	}
}

func TestRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	drop := `DROP INDEX "OpenaiCreds_apiKey_key";`
	for name, c := range map[string]struct{ sql, says string }{
		"primary key":     {`ALTER TABLE "OpenaiCreds" DROP CONSTRAINT "OpenaiCreds_pkey" CASCADE, ADD PRIMARY KEY ("apiKey")`, "primary key"},
		"foreign key":     {`CREATE TABLE needs (k varchar(255) REFERENCES "OpenaiCreds"("apiKey"))`, `foreign key \"needs_k_fkey\" of table evolution_api.needs`},
		"on a constraint": {drop + `ALTER TABLE "OpenaiCreds" ADD UNIQUE ("apiKey"); CREATE TABLE needs (k varchar(255) REFERENCES "OpenaiCreds"("apiKey"))`, `foreign key \"needs_k_fkey\" of table evolution_api.needs`},
		"another column":  {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`, pgtest.SomethingElse},
		"plain, another":  {drop + `CREATE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("instanceId")`, pgtest.SomethingElse},
		"two columns":     {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey", name)`, pgtest.SomethingElse},
		"another table":   {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "Instance"("name")`, pgtest.DifferentThing},
		"a sequence":      {drop + `CREATE SEQUENCE "OpenaiCreds_apiKey_key"`, "sequence"},
		"partial":         {drop + `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey") WHERE name IS NULL`, pgtest.OnPurpose},
		"expression":      {drop + `CREATE UNIQUE INDEX folded ON "OpenaiCreds"(lower("apiKey"))`, pgtest.OnPurpose},
		"no such column":  {`ALTER TABLE "OpenaiCreds" RENAME COLUMN "apiKey" TO secret`, pgtest.NoColumn},
		"a view":          {`ALTER TABLE "OpenaiCreds" RENAME TO real; CREATE VIEW "OpenaiCreds" AS SELECT * FROM real`, "a view"},
		"partitioned":     {`DROP TABLE "OpenaiCreds" CASCADE; CREATE TABLE "OpenaiCreds" ("apiKey" text UNIQUE) PARTITION BY LIST ("apiKey")`, "partitioned table"},
	} {
		t.Run(name, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Exec(c.sql)
			before := d.Dump()
			d.Patch().Expect(t, 3, "failed: ", pgtest.IsRefused, c.says)
			d.Patch("PATCH_ACTION=status").Expect(t, 3)
			d.Patch("PATCH_ON_ERROR=continue").Expect(t, 0, "failed: ", c.says)
			d.ExpectDump(before)
		})
	}
}

// Tables and indexes that Evolution never creates, or that others need as they are.
func TestRefusesWhatOthersNeed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, says string }{
		"materialized view": {`ALTER TABLE "OpenaiCreds" RENAME TO real; CREATE MATERIALIZED VIEW "OpenaiCreds" AS SELECT * FROM real`, "is a materialized view"},
		"partition":         {`CREATE TABLE parent (LIKE "OpenaiCreds") PARTITION BY LIST (id); ALTER TABLE parent ATTACH PARTITION "OpenaiCreds" DEFAULT`, pgtest.IsPartition},
		"replica identity":  {`ALTER TABLE "OpenaiCreds" ALTER "apiKey" SET NOT NULL, REPLICA IDENTITY USING INDEX "OpenaiCreds_apiKey_key"`, pgtest.IsReplicaIdentity},
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

// A unique index on a column that is generated from the column of a fix forbids what the fix is to allow.
func TestRefusesAnIndexOnAGeneratedColumn(t *testing.T) {
	t.Parallel()
	for column, fix := range map[string]string{"apiKey": "apikey-index", "name": "name-index"} {
		t.Run(column, func(t *testing.T) {
			d := pgtest.NewEvolution(t, "evolution_api")
			d.Exec(`ALTER TABLE "OpenaiCreds" ADD hidden text GENERATED ALWAYS AS (lower("` + column + `")) STORED UNIQUE`)
			before := d.Dump()
			d.Patch("PATCH_FIXES="+fix).Expect(t, 3, "failed: ", "OpenaiCreds_hidden_key")
			d.ExpectDump(before)
		})
	}
}
