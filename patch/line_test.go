package patch

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
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
		`failed: h:1/d schema=s changed=false apikey-index=failed error="a \"b\""`:                                                         func(r *Result) { r.Assessment, r.Err = plan.EveryFix(plan.Fixes[:1], plan.Failed), errors.New(`a "b"`) },
		`patched: h:1/d schema=s changed=false apikey-index=patched would run: BEGIN; DROP INDEX "a"; SELECT 1; COMMIT;`:                   func(r *Result) { r.SQL = []string{`DROP INDEX "a"`, "SELECT 1"} },
		`patched: h:1/d schema=s changed=false apikey-index=patched would run: "BEGIN; a\nb; COMMIT;"`:                                     func(r *Result) { r.SQL = []string{"a\nb"} },
		`patched: h:1/d schema=s changed=false apikey-index=patched error="refused, and nothing was changed: why" remedy: UPDATE t SET x;`: func(r *Result) { r.Err = &plan.RefusedError{Reason: "why", Remedy: "UPDATE t SET x;"} },
	} {
		r := &Result{Target: "h:1/d", place: place{Schema: "s"}, Assessment: plan.EveryFix(plan.Fixes[:1], plan.Patched)}
		change(r)
		var b strings.Builder
		if newLine(r).text(&b); b.String() != want {
			t.Errorf("%s\nwant %s", b.String(), want)
		}
	}
}

// However much others wrote, the line is short, and is JSON where it is to be. SQL of which something is left out commits nothing.
func TestLineIsShort(t *testing.T) {
	for _, others := range []string{"x", "\x01", "\xff", "<", `"`, "\u2028", "я", "😀"} {
		r := Result{Target: "h:1/d", place: place{Schema: strings.Repeat(others, 60)}, Err: plan.Refuse("%s", strings.Repeat(others, 100_000)), Assessment: plan.EveryFix(plan.Fixes, plan.Failed)}
		r.Found = map[string]string{}
		for _, f := range plan.Fixes {
			r.Found[f.Name] = strings.Repeat(others, 50_000)
		}
		for range 1000 {
			r.SQL = append(r.SQL, "DROP INDEX "+strings.Repeat(others, 60))
		}
		found := r.Found["apikey-index"]
		for _, format := range []config.LogFormat{config.FormatText, config.FormatJSON} {
			text := newLine(&r).write(format)
			if len(text) > maxLine || len(text) < 100 || format == config.FormatJSON && !json.Valid([]byte(text)) {
				t.Errorf("%q as %s: %d bytes: %.200s", others, format, len(text), text)
			}
		}
		if r.Found["apikey-index"] != found {
			t.Errorf("%q: the Result was cut, too", others)
		}
	}
	short := &Result{Target: "h:1/d", place: place{Schema: "s"}, Err: plan.Refuse("why"), Assessment: plan.EveryFix(plan.Fixes, plan.Failed)}
	if text := newLine(short).write(config.FormatText); !strings.Contains(text, "why") {
		t.Errorf("a short line was cut: %s", text)
	}
	sql := []string{"DROP INDEX a", "DROP INDEX b", "DROP INDEX c"}
	if got := firstStatements(sql, 24); len(got) != 3 || got[1] != sql[1] || got[2] != "-- and 1 statements more" {
		t.Errorf("%q", got)
	}
	if got := firstStatements(sql, 36); !slices.Equal(got, sql) {
		t.Errorf("%q", got)
	}
}

// No line of the log is longer either.
func TestLogLineIsShort(t *testing.T) {
	for _, format := range []config.LogFormat{config.FormatText, config.FormatJSON} {
		var out strings.Builder
		log := newLogger(config.Config{LogFormat: format}, &out)
		log.With("schema", "s").Warn("found", "found", strings.Repeat("\x01<", 100_000))
		if len(out.String()) > 8<<10 || !strings.Contains(out.String(), "…") {
			t.Errorf("%s: %d bytes: %.200s", format, len(out.String()), out.String())
		}
	}
}
