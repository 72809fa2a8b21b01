package test

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// The log says that dropping an index is not enough if the application refuses a shared key and nothing pads it: not if
// the padding trigger is there and enabled, and not to somebody who reverts.
func TestWarningThatTheIndexIsNotEnough(t *testing.T) {
	t.Parallel()
	d := pgtest.NewEvolution(t, "public")
	status := func() pgtest.Outcome { t.Helper(); return d.Patch(pgtest.IndexOnly, "PATCH_ACTION=status") }
	status().Expect(t, 5, pgtest.NotEnough)
	d.Patch("PATCH_FIXES=name-index").Expect(t, 0, "patched: ", pgtest.NotEnough)
	d.Patch("PATCH_FIXES=name-index", "PATCH_ACTION=revert").ExpectNot(t, pgtest.NotEnough)
	d.Patch().ExpectNot(t, pgtest.NotEnough)
	for _, undo := range []struct{ sql, enabled string }{
		{`ALTER TABLE "OpenaiCreds" DISABLE TRIGGER evolution_openai_patch`, "D"},
		{`ALTER TABLE "OpenaiCreds" ENABLE REPLICA TRIGGER evolution_openai_patch`, "R"},
		{`DROP TRIGGER evolution_openai_patch ON "OpenaiCreds"`, ""},
	} {
		o := status()
		o.Expect(t, 0, "patched: ", "apikey-index=patched")
		o.ExpectNot(t, pgtest.NotEnough)
		d.Exec(undo.sql)
		if got := d.Text(`SELECT tgenabled FROM pg_trigger WHERE tgname = 'evolution_openai_patch'`); got != undo.enabled {
			t.Errorf("tgenabled is %q, want %q", got, undo.enabled)
		}
		status().Expect(t, 0, "patched: ", pgtest.NotEnough)
		d.Patch().Expect(t, 0, "patched: ", "changed=true", "apikey-check=patched")
	}
	d.Exec(`ALTER TABLE "OpenaiCreds" ENABLE ALWAYS TRIGGER evolution_openai_patch`)
	status().ExpectNot(t, pgtest.NotEnough)
}
