package test

import (
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestFiftyAtOnceWithAllFixes(t *testing.T) {
	d := pgtest.NewEvolution(t, "evolution_api")
	d.InsertCredentials(500)
	d.PatchFiftyAtOnce("patched: ", allFixes, "PATCH_KEEP_INDEX_NAMES=true")
}

func TestFiftyAtOnce(t *testing.T) {
	pgtest.NewEvolution(t, "evolution_api").PatchFiftyAtOnce("patched: ")
}

func TestGuardArmedByFiftyAtOnce(t *testing.T) {
	pgtest.NewDatabase(t, "public").PatchFiftyAtOnce("guarded: ", guard, allFixes)
}
