package attack

import (
	"strings"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

// A superuser runs over the databases of tenants, some of which have set traps: these are refused and changed in nothing,
// none of their code runs, and the others are done.
func TestFleetTraps(t *testing.T) {
	t.Parallel()
	var attacks []*attack
	var catalogs, patterns []string
	for _, trap := range traps[:6] {
		a := newAttackOnEvolution(t)
		if trap.since > a.Major() {
			continue
		}
		pgtest.Exec(t, a.asEvo, trap.sql)
		attacks = append(attacks, a)
	}
	good := newAttackOnEvolution(t)
	for _, a := range append(attacks, good) {
		patterns, catalogs = append(patterns, strings.Replace(a.Name, "_", "[_]", 1)), append(catalogs, a.Catalog())
	}
	o := good.patchAs("postgres", pgtest.AllFixes, "PATCH_DATABASES="+strings.Join(patterns, ","))
	o.Expect(t, 3, "patched: "+good.Server.Address()+"/"+good.Name+" schema=evolution_api changed=true")
	for i, a := range attacks {
		o.Expect(t, 3, "failed: "+a.Server.Address()+"/"+a.Name+" schema=evolution_api changed=false")
		a.requireNoStrike("a run over the fleet")
		a.requireUnchanged(catalogs[i], "a run over the fleet")
	}
	if lines := strings.Count(o.Stdout, "\n"); lines != len(attacks)+1 {
		t.Errorf("%d lines, want %d", lines, len(attacks)+1)
	}
}
