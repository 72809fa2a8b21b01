package attack

import (
	"testing"

	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/test/pgtest"
)

// By its comment revert knows the index that it makes unique again, and evo writes that comment on indexes of its own. It gets what it
// could make itself: a unique index on the column, under a name that nothing of is executed.
func TestAttackCommentOnAnIndex(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]string{
		"plain": `("apiKey")`, "expression": `(evil.immutable("apiKey"))`, "partial": `("apiKey") WHERE evil.immutable("apiKey") <> ''`, "covering": `("apiKey") INCLUDE (id)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAttackOnEvolution(t)
			index := pgtest.Quote(`x" ON "OpenaiCreds"("apiKey"); SELECT evil.strike(); --`)
			pgtest.Exec(t, a.asEvo, `CREATE OR REPLACE FUNCTION evil.immutable(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM evil.strike(); RETURN $1; END'`)
			pgtest.Exec(t, a.asEvo, `DROP INDEX "OpenaiCreds_apiKey_key"`)
			pgtest.Exec(t, a.asEvo, `CREATE INDEX `+index+` ON "OpenaiCreds" `+on)
			pgtest.Exec(t, a.asEvo, `COMMENT ON INDEX `+index+` IS '`+plan.IndexComment+`; SELECT evil.strike()'`)
			dir := t.TempDir()
			a.patchAs("postgres", "PATCH_FIXES=apikey-index", "PATCH_ACTION=revert", "PATCH_BACKUP_DIR="+dir).Expect(t, 0, "unpatched: ", "changed=true")
			if n := a.Text(`SELECT count(*) FROM pg_indexes WHERE tablename = 'OpenaiCreds' AND indexdef LIKE 'CREATE UNIQUE INDEX %USING btree ("apiKey")'`); n != "1" {
				t.Errorf("%s unique indexes on the keys, want 1", n)
			}
		})
	}
}
