package lab

import (
	"context"
	"flag"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"evolution-openai-patch/test/pgtest"
)

// Random actions of the program, of Evolution and of somebody else's do to a real database what they do to a model of it.
func TestHistories(t *testing.T) {
	t.Parallel()
	shards := runtime.GOMAXPROCS(0)
	_ = flag.Set("rapid.checks", strconv.Itoa(amount(60, 20_000)/shards+1))
	_ = flag.Set("rapid.steps", "15")
	for shard := range shards {
		t.Run(strconv.Itoa(shard), func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				if t.Failed() {
					counts.violation(t, "histories", "the history above is not that of the model")
				}
			})
			d := pgtest.NewDatabase(t, "history")
			rapid.Check(t, func(r *rapid.T) {
				counts.add("histories", 1)
				newHistory(t, r, d).run(r)
			})
		})
	}
}

// history is a database and the model of it.
type history struct {
	t    *testing.T
	d    *pgtest.Database
	m    model
	last int // number of the last credential
}

// newHistory empties the database, and lets Evolution create its tables there or not.
func newHistory(t *testing.T, r *rapid.T, d *pgtest.Database) *history {
	if d.Conn.IsClosed() { // for a copy to be made of it
		d.Conn = d.NewConn()
	}
	d.Exec(`DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT evtname FROM pg_event_trigger LOOP EXECUTE format('DROP EVENT TRIGGER %I', name); END LOOP;
		FOR name IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'evolution_openai_patch%' OR nspname LIKE 'history%' LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP; END $$`)
	d.Exec(`SET client_min_messages = error; CREATE SCHEMA history; SET search_path TO history`)
	h := &history{t: t, d: d.In("history")}
	if rapid.IntRange(0, 3).Draw(r, "table") < 3 {
		h.migrate(r)
	}
	return h
}

func (h *history) run(r *rapid.T) {
	r.Repeat(map[string]func(*rapid.T){
		"":              h.compare,
		"apply":         h.apply,
		"apply again":   h.apply,
		"revert":        h.revert,
		"revert more":   h.revert,
		"status":        h.status,
		"migrate":       h.migrate,
		"register":      h.register,
		"register more": h.register,
		"delete":        h.delete,
		"DDL":           h.ddl,
		"more DDL":      h.ddl,
		"rename":        h.rename,
		"dump":          h.dump,
	})
}

func drawRequest(r *rapid.T) request {
	fixes := rapid.IntRange(1, 7).Draw(r, "fixes")
	return request{fixes&1 > 0, fixes&2 > 0, fixes&4 > 0, rapid.Bool().Draw(r, "keep")}
}

var firstLine = regexp.MustCompile(`^(\w+): \S+ schema=\S+ changed=(\w+)`)

// patch runs the program and compares its answer.
func (h *history) patch(r *rapid.T, want answer, q request, environ ...string) {
	environ = append(append([]string{"DATABASE_CONNECTION_URI=" + h.d.URI()}, q.environ()...), environ...)
	o := pgtest.RunArgs(context.Background(), nil, slices.Concat(pgtest.Patient, environ))
	m := firstLine.FindStringSubmatch(o.Stdout)
	if m == nil {
		r.Fatalf("%q: exit status %d\n%s%s", environ[1:], o.Code, o.Stderr, o.Stdout)
	}
	if got := (answer{o.Code, m[1], m[2] == "true"}); got != want || m[2] == "unknown" {
		r.Fatalf("%q: %+v, want %+v\n%s%s", environ[1:], got, want, o.Stderr, o.Stdout)
	}
}

func (h *history) apply(r *rapid.T) {
	q, missing := drawRequest(r), rapid.SampledFrom([]string{"continue", "guard"}).Draw(r, "missing table")
	h.patch(r, h.m.apply(q, missing == "guard"), q, "PATCH_ON_MISSING_TABLE="+missing)
}

func (h *history) revert(r *rapid.T) {
	q := drawRequest(r)
	h.patch(r, h.m.revert(q), q, "PATCH_ACTION=revert")
}

func (h *history) status(r *rapid.T) {
	q := drawRequest(r)
	h.patch(r, h.m.status(q), q, "PATCH_ACTION=status")
}

// migrate starts another release of Evolution.
func (h *history) migrate(r *rapid.T) {
	last := "20250116001415"
	if h.m.table || rapid.Bool().Draw(r, "latest release") {
		last = pgtest.Last
	}
	if err := pgtest.Migrate(h.d.Conn, last); err != nil {
		r.Fatal(err)
	}
	if !h.m.table {
		h.m.create()
		h.d.Exec(`INSERT INTO "Instance"(id, name) VALUES ('i1', 'one'), ('i2', 'two')`)
	}
	h.m.checking = h.m.checking || last == pgtest.Last
}

// register posts a credential. The values are few, so that they meet.
func (h *history) register(r *rapid.T) {
	if !h.m.table {
		return
	}
	h.last++
	id := fmt.Sprint("c", h.last)
	c := credential{
		rapid.SampledFrom([]string{"sales", "support", "one", "two", "three", "four"}).Draw(r, "name"),
		rapid.SampledFrom([]string{"sk-a", "sk-b", "sk-c", "sk-d ", "sk-e   ", strings.Repeat("x", length-1), strings.Repeat("y", length)}).Draw(r, "key"),
	}
	release := "2.2"
	if h.m.checking {
		release = "2.3"
	}
	if got, want := h.d.RegisterAs(id, release, "i1", c.name, c.key), h.m.register(id, c); got != want {
		r.Fatalf("POST of %+v: %d, want %d", c, got, want)
	}
}

// delete deletes a credential.
func (h *history) delete(r *rapid.T) {
	id := fmt.Sprint("c", rapid.IntRange(0, h.last).Draw(r, "credential"))
	if h.m.table {
		h.d.Exec(`DELETE FROM "OpenaiCreds" WHERE id = $1`, id)
		delete(h.m.rows, id)
	}
}

// change is what somebody does by hand.
type change struct {
	possible bool
	sql      string
	effect   func()
}

// ddl is one of those that are possible.
func (h *history) ddl(r *rapid.T) {
	m := &h.m
	changes := slices.DeleteFunc([]change{
		{m.key != noIndex, `DROP INDEX IF EXISTS "OpenaiCreds_apiKey_key", somebodys`, func() { m.key = noIndex }},
		{m.key == noIndex && !m.shares(keyOf), `CREATE UNIQUE INDEX "OpenaiCreds_apiKey_key" ON "OpenaiCreds"("apiKey")`, func() { m.key = uniqueIndex }},
		{m.key == uniqueIndex, `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO somebodys`, func() { m.key = renamedIndex }},
		{m.name == noIndex, `CREATE INDEX "OpenaiCreds_name_key" ON "OpenaiCreds"(name)`, func() { m.name = unmarkedIndex }},
		{m.key == plainIndex, `COMMENT ON INDEX "OpenaiCreds_apiKey_key" IS NULL`, func() { m.key = unmarkedIndex }},
		{m.key == plainIndex, `ALTER INDEX "OpenaiCreds_apiKey_key" RENAME TO somebodys`, func() { m.key = plainElsewhere }},
		{!m.younger, `INSERT INTO "_prisma_migrations"(id, checksum, migration_name, finished_at) VALUES ('younger', '', '20990101000000_younger', now())`, func() { m.younger = true }},
		{m.trigger == "O", `ALTER TABLE "OpenaiCreds" DISABLE TRIGGER USER`, func() { m.trigger = "D" }},
		{m.trigger != "", `DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`, func() { m.trigger = "" }},
		{m.function, `DROP FUNCTION evolution_openai_patch CASCADE`, func() { m.function, m.trigger = false, "" }},
	}, func(c change) bool { return !c.possible || !m.table })
	if len(changes) > 0 {
		c := rapid.SampledFrom(changes).Draw(r, "change")
		h.d.Exec(c.sql)
		c.effect()
	}
}

// rename renames the schema, which has no guard.
func (h *history) rename(*rapid.T) {
	if h.m.guard != nil {
		return
	}
	name := map[string]string{"history": "history-2", "history-2": "history"}[h.d.Schema]
	h.d.Exec(fmt.Sprintf("ALTER SCHEMA %s RENAME TO %s; SET search_path TO %[2]s", pgtest.Quote(h.d.Schema), pgtest.Quote(name)))
	h.d = h.d.In(name)
}
