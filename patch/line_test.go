package patch

import (
	"errors"
	"strings"
	"testing"
)

// The line of the report stays one line, of which each word can be told from the next, whatever somebody chose as a name.
func TestLineAsText(t *testing.T) {
	for want, change := range map[string]func(*Result){
		`patched: h:1/d schema=s changed=false apikey-index=patched`:                                                                       func(*Result) {},
		`patched: h:1/d schema=s changed=true apikey-index=patched evolution=2.3.7`:                                                        func(r *Result) { r.Changed, r.Evolution = true, "2.3.7" },
		`patched: h:1/d schema=s changed=unknown apikey-index=patched`:                                                                     func(r *Result) { r.Unknown = true },
		`patched: h:1/d schema=s changed=false apikey-index=patched evolution="before 2.2.0"`:                                              func(r *Result) { r.Evolution = "before 2.2.0" },
		`patched: "h:1/a b" schema="a=b" changed=false apikey-index=patched`:                                                               func(r *Result) { r.Target, r.Schema = "h:1/a b", "a=b" },
		`patched: h:1/d schema="\n" changed=false apikey-index=patched`:                                                                    func(r *Result) { r.Schema = "\n" },
		`patched: h:1/d schema="" changed=false apikey-index=patched`:                                                                      func(r *Result) { r.Schema = "" },
		`patched: h:1/d schema="\"" changed=false apikey-index=patched`:                                                                    func(r *Result) { r.Schema = `"` },
		`failed: h:1/d schema=s changed=false apikey-index=failed error="a \"b\""`:                                                         func(r *Result) { r.assessment, r.Err = everyFix(Fixes[:1], Failed), errors.New(`a "b"`) },
		`patched: h:1/d schema=s changed=false apikey-index=patched would run: BEGIN; DROP INDEX "a"; SELECT 1; COMMIT;`:                   func(r *Result) { r.SQL = []string{`DROP INDEX "a"`, "SELECT 1"} },
		`patched: h:1/d schema=s changed=false apikey-index=patched would run: "BEGIN; a\nb; COMMIT;"`:                                     func(r *Result) { r.SQL = []string{"a\nb"} },
		`patched: h:1/d schema=s changed=false apikey-index=patched error="refused, and nothing was changed: why" remedy: UPDATE t SET x;`: func(r *Result) { r.Err = &RefusedError{"why", "UPDATE t SET x;"} },
	} {
		r := &Result{Target: "h:1/d", Schema: "s", assessment: everyFix(Fixes[:1], Patched)}
		change(r)
		var b strings.Builder
		if newLine(r).text(&b); b.String() != want {
			t.Errorf("%s\nwant %s", b.String(), want)
		}
	}
}
