package test

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// What a later release of Evolution may do to the index that keeps instances from sharing a key.
const (
	dropIndex     = `DROP INDEX "OpenaiCreds_apiKey_key"`
	makeComposite = `DROP INDEX "OpenaiCreds_apiKey_key"; CREATE UNIQUE INDEX "OpenaiCreds_apiKey_instanceId_key" ON "OpenaiCreds"("apiKey", "instanceId")`
	renameIndex   = `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO "OpenaiCreds_key"`

	asEvolution = "OpenaiCreds_apiKey_key OpenaiCreds_name_key" // its unique indexes
	lifted      = pgtest.Lifted
)

// journeys are what becomes of a database of Evolution's in the course of years, where the program gets DATABASE_CONNECTION_URI and,
// besides what stands before its name, nothing else.
var journeys = []struct {
	name  string
	steps []step
}{
	{"first boot, second boot, upgrades", []step{
		silent("", 0, "guarded", "changed=true", "apikey-index=guarded apikey-check=guarded"),
		evolution("2.2.3"),
		post("one", 201), post("two", 201), padded(2), unique("OpenaiCreds_name_key"),
		silent("", 0, "patched", "changed=false", "evolution=2.2.1-2.2.3"),
		silent("status", 0, "patched"),
		noGuard(""),
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=false", "evolution=2.3.7"),
		post("three", 201),
		evolution("2.4.0-rc2"),
		silent("", 0, "patched", "changed=false", "evolution=2.4.0-rc"),
		silent("status", 0, "patched"),
		post("four", 201), padded(4),
		revertAfterRemedy(), padded(0), unique(asEvolution),
		post("five", 400),
		silent("status", 5, "unpatched"),
		silent("", 0, "patched", "changed=true"),
		post("five", 201),
	}},
	{"first boot, and the way back", []step{
		silent("", 0, "guarded", "changed=true"),
		evolution("2.2.3"),
		post("one", 201), padded(1),
		silent("revert", 0, "unpatched", "changed=true"),
		noGuard("revert"), padded(0), unique(asEvolution),
		post("two", 500),
	}},
	{"the way back before the first boot", []step{
		silent("", 0, "guarded", "changed=true"),
		silent("revert", 0, "pending", "changed=true"),
		noGuard("revert"),
		evolution("2.3.7"),
		post("one", 201), post("two", 400), unique(asEvolution),
	}},
	{"an Evolution 2.2 that runs already, and its upgrades", []step{
		evolution("2.2.3"),
		post("one", 201), post("two", 500),
		silent("status", 5, "unpatched", "apikey-index=unpatched apikey-check=unpatched"),
		silent("", 0, "patched", "changed=true", "apikey-index=patched apikey-check=patched"),
		post("two", 201), padded(2),
		silent("", 0, "patched", "changed=false"),
		evolution("2.3.7"),
		post("three", 201),
		silent("", 0, "patched", "changed=false"),
		evolution("2.4.0-rc2"),
		post("four", 201),
		silent("status", 0, "patched"),
	}},
	{"an Evolution 2.3 that runs already, and the way back", []step{
		evolution("2.3.7"),
		post("one", 201), post("two", 400), unique(asEvolution),
		silent("", 0, "patched", "changed=true"),
		post("two", 201), unique("OpenaiCreds_name_key"),
		program("revert", 3, "failed", pgtest.SharedValue), padded(2),
		revertAfterRemedy("apikey-check=unpatched", "apikey-index=unpatched"), padded(0), unique(asEvolution),
		silent("revert", 0, "unpatched", "changed=false"),
		post("three", 400),
	}},
	{"the padding alone, while keys are shared", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201), padded(2),
		silent("PATCH_FIXES=apikey-check revert", 0, "unpatched", "changed=true", "apikey-check=unpatched"),
		padded(0), unique("OpenaiCreds_name_key"),
		post("three", 400), // by the application
		silent("PATCH_FIXES=apikey-check revert", 0, "unpatched", "changed=false"),
		revertAfterRemedy("apikey-index=unpatched"), unique(asEvolution),
	}},
	{"Evolution drops the index", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201),
		future(lifted, dropIndex, passes),
		post("three", 201),
		silent("", 0, "patched", "changed=false", "or later"),
		silent("status", 0, "patched", "changed=false"),
		program("revert", 0, "unpatched", "changed=true", "level=WARN", "CREATE UNIQUE INDEX"),
		padded(0), unique("OpenaiCreds_name_key"),
		post("four", 201),
		program("revert", 0, "patched", "changed=false", "level=WARN", "CREATE UNIQUE INDEX"), unique("OpenaiCreds_name_key"),
	}},
	{"Evolution makes the index composite", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201),
		future(lifted, makeComposite, passes),
		post("three", 201),
		post("three", 500), // one instance has a key once: that is Evolution's own rule now
		silent("", 0, "patched", "changed=false", "or later"),
		silent("status", 0, "patched", "changed=false"),
		program("revert", 0, "unpatched", "changed=true", "level=WARN", "CREATE UNIQUE INDEX"),
		padded(0), unique("OpenaiCreds_apiKey_instanceId_key OpenaiCreds_name_key"),
		post("four", 201), post("four", 500),
		program("revert", 0, "patched", "changed=false", "level=WARN", "CREATE UNIQUE INDEX"), unique("OpenaiCreds_apiKey_instanceId_key OpenaiCreds_name_key"),
	}},
	{"Evolution renames the index", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201),
		future("2.5.0", renameIndex, passes),
		post("three", 201),
		silent("", 0, "patched", "changed=false", "or later"),
		silent("status", 0, "patched", "changed=false"),
		revertAfterRemedy(), padded(0), unique("OpenaiCreds_key OpenaiCreds_name_key"),
		post("four", 400),
		silent("", 0, "patched", "changed=true"), unique("OpenaiCreds_name_key"),
		post("four", 201),
	}},
	{"no index has Evolution's name when a release drops it", []step{
		evolution("2.3.7"),
		post("one", 201),
		silent("PATCH_KEEP_INDEX_NAMES=false", 0, "patched", "changed=true"),
		post("two", 201),
		future(lifted, dropIndex, p3018),
		program("status", 0, "patched", pgtest.MigrationFailed, "20270101000000_3.0.0"),
		program("", 0, "patched", "changed=true", pgtest.MigrationFailed, "20270101000000_3.0.0"), // now one has the name
		future(lifted, dropIndex, p3009),
		psql(`UPDATE "_prisma_migrations" SET rolled_back_at = now() WHERE finished_at IS NULL AND rolled_back_at IS NULL`),
		future(lifted, dropIndex, passes),
		silent("", 0, "patched", "changed=false"),
		post("three", 201),
	}},
	{"one instance has the key twice when a release makes the index composite", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("one", 201), post("two", 201),
		program("", 0, "patched", "changed=false", "level=WARN", pgtest.RepeatedKeys+"1"),
		future(lifted, makeComposite, p3018),
		program("status", 0, "patched", pgtest.RepeatedKeys+"1", pgtest.MigrationFailed),
		psql(`DELETE FROM "OpenaiCreds" WHERE name = 'credential 2'`),
		psql(`UPDATE "_prisma_migrations" SET rolled_back_at = now() WHERE finished_at IS NULL AND rolled_back_at IS NULL`),
		future(lifted, makeComposite, passes),
		silent("", 0, "patched", "changed=false"),
		post("one", 500), post("three", 201),
	}},
	{"a database patched without Evolution's names gets them", []step{
		evolution("2.3.7"),
		silent("PATCH_KEEP_INDEX_NAMES=false", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201),
		silent("status", 0, "patched"),
		silent("", 0, "patched", "changed=true"),
		silent("", 0, "patched", "changed=false"),
		future(lifted, dropIndex, passes),
		post("three", 201),
	}},
	{"a dump is restored", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201),
		restored,
		silent("status", 0, "patched"),
		silent("", 0, "patched", "changed=false"),
		post("three", 201), padded(3),
		evolution("2.4.0-rc2"),
		revertAfterRemedy(), padded(0), unique(asEvolution),
	}},
	{"a dump is restored, and Evolution renames the index", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		restored,
		future("2.5.0", renameIndex, passes),
		restored,
		post("one", 201), post("two", 201),
		silent("", 0, "patched", "changed=false"),
		revertAfterRemedy(), unique("OpenaiCreds_key OpenaiCreds_name_key"),
	}},
	{"a dump of a release that drops the index is restored", []step{
		evolution("2.3.7"),
		silent("", 0, "patched", "changed=true"),
		post("one", 201), post("two", 201),
		future(lifted, dropIndex, passes),
		restored,
		silent("", 0, "patched", "changed=false"),
		post("three", 201),
		program("revert", 0, "unpatched", "changed=true"), padded(0), unique("OpenaiCreds_name_key"),
		post("four", 201),
	}},
	{"the role is no superuser", []step{
		owned,
		program("", 0, "pending", "changed=false", "level=WARN", pgtest.NoGuard),
		evolution("2.3.7"),
		post("one", 201), post("two", 400),
		silent("", 0, "patched", "changed=true"),
		post("two", 201),
		revertAfterRemedy(), unique(asEvolution),
	}},
	{"the connection string names another schema", []step{
		evolution("2.3.7"),
		post("one", 201),
		asksFor("evolution"),
		program("status", 0, "pending", "level=WARN", pgtest.IsElsewhere+"evolution_api"),
		program("", 0, "guarded", "changed=true", "level=WARN", pgtest.IsElsewhere+"evolution_api"),
		post("two", 400),
		program("", 0, "guarded", "changed=false", "level=WARN", pgtest.IsElsewhere+"evolution_api"),
		program("status", 0, "guarded", "level=WARN", pgtest.IsElsewhere+"evolution_api"),
		asksFor("evolution_api"),
		silent("", 0, "patched", "changed=true"),
		silent("PATCH_SCHEMAS=* revert", 0, "unpatched", "changed=true"),
		noGuard("PATCH_SCHEMAS=* revert"), unique(asEvolution),
		silent("", 0, "patched", "changed=true"),
		post("two", 201),
	}},
	{"the connection string names another database", []step{
		evolution("2.3.7"),
		post("one", 201),
		asksForDatabase,
		silent("", 0, "guarded", "changed=true", pgtest.FirstStart),
		program("", 0, "guarded", "changed=false", "level=WARN", pgtest.StillGuarded),
		post("two", 400),
		silent("revert", 0, "pending", "changed=true"), noGuard("revert"),
	}},
	{"the connection string names no schema", []step{
		evolution("2.3.7"),
		post("one", 201),
		asksFor(""), // so it is public
		program("", 0, "guarded", "changed=true", "level=WARN", pgtest.IsElsewhere+"evolution_api"),
		post("two", 400),
		program("PATCH_SCHEMAS=* revert", 0, "unpatched", "changed=false"),
		noGuard("PATCH_SCHEMAS=* revert"),
	}},
	{"the connection string names no schema, and public is another application's", []step{
		psql(`CREATE TABLE public.invoices (id int)`),
		asksFor(""),
		program("", 0, "pending", "changed=false", "level=WARN", pgtest.NoGuard, pgtest.NothingOfEvolutions),
		evolution("2.3.7"),
		post("one", 201),
		program("", 0, "pending", "changed=false", "level=WARN", pgtest.IsElsewhere+"evolution_api"),
		post("two", 400),
		asksFor("evolution_api"),
		silent("", 0, "patched", "changed=true"),
		post("two", 201),
	}},
	{"the connection string names no schema, and public is another application of Prisma's", []step{
		psql(`CREATE TABLE public."_prisma_migrations" (migration_name text, finished_at timestamptz, rolled_back_at timestamptz)`),
		psql(`INSERT INTO public."_prisma_migrations" VALUES ('20230101000000_init', now())`),
		asksFor(""),
		program("", 0, "pending", "changed=false", "level=WARN", pgtest.NoGuard, pgtest.OfAnotherApplication),
		asksFor("evolution_api"),
		silent("", 0, "guarded", "changed=true"),
		evolution("2.3.7"),
		post("one", 201), post("two", 201),
	}},
}

// A stranger who sets one variable gets what the documents promise, from the first boot to the way back.
func TestJourney(t *testing.T) {
	t.Parallel()
	for _, j := range journeys {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			follow(t, "evolution_api", j.steps)
		})
	}
}
