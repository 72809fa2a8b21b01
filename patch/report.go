package patch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"evolution-openai-patch/patch/postgres"
)

// line is a Result as programs read it.
type line struct {
	Target    string            `json:"target"`
	Schema    string            `json:"schema"`
	State     Status            `json:"state"`
	Changed   *bool             `json:"changed"` // null where it is not known
	Fixes     map[string]Status `json:"fixes"`
	Evolution string            `json:"evolution"` // release range, "" if unknown
	Error     string            `json:"error"`     // "" if none
	Found     map[string]string `json:"found,omitempty"`
	SQL       []string          `json:"sql,omitempty"`
	Remedy    string            `json:"remedy,omitempty"` // SQL to execute before another run
}

// report writes one line for each result, as text or as JSON.
func report(w io.Writer, results []Result, format LogFormat) error {
	var b strings.Builder
	for _, r := range results {
		l := line{
			Target: r.Target, Schema: r.Schema, State: r.Status, Changed: &r.Changed, Fixes: r.Fixes,
			Evolution: release(r.State.Migrations.Last), Found: r.Found, SQL: r.SQL,
		}
		if r.Unknown {
			l.Changed = nil
		}
		if r.Err != nil {
			l.Error = explain(r.Err)
		}
		var refused *RefusedError
		if errors.As(r.Err, &refused) {
			l.Remedy = refused.remedy
		}
		if format == FormatJSON {
			text, err := json.Marshal(l)
			if err != nil {
				return err
			}
			b.Write(text)
		} else {
			l.text(&b)
		}
		b.WriteByte('\n')
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("%w; not written: %s", err, postgres.OneLine(b.String()))
	}
	return nil
}

// text writes the line for people. SQL stands last and unquoted, to be copied.
func (l line) text(b *strings.Builder) {
	changed := "unknown"
	if l.Changed != nil {
		changed = strconv.FormatBool(*l.Changed)
	}
	fmt.Fprintf(b, "%s: %s schema=%s changed=%s", l.State, word(l.Target), word(l.Schema), changed)
	for _, f := range Fixes {
		if s, requested := l.Fixes[f.Name]; requested {
			fmt.Fprintf(b, " %s=%s", f.Name, s)
		}
	}
	if l.Evolution != "" {
		fmt.Fprintf(b, " evolution=%s", word(l.Evolution))
	}
	if l.Error != "" {
		fmt.Fprintf(b, " error=%q", l.Error)
	}
	if len(l.SQL) > 0 {
		b.WriteString(" would run: " + printable("BEGIN; "+strings.Join(l.SQL, "; ")+"; COMMIT;"))
	}
	if l.Remedy != "" {
		b.WriteString(" remedy: " + printable(l.Remedy))
	}
}

// printable returns SQL as it is, or quoted where a name that somebody chose holds what cannot be printed.
func printable(sql string) string {
	if strings.ContainsFunc(sql, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToGraphic(sql)
	}
	return sql
}

// word quotes what could be taken for more than one word.
func word(s string) string {
	if s == "" || slices.ContainsFunc([]rune(s), func(r rune) bool { return r == '"' || r == '=' || r == ' ' || !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// logResult logs what a Result needs said besides its line in the report. An error stands in that line; it is logged only
// where the line does not come now, or the exit status does not show it.
func logResult(cfg *Config, log *slog.Logger, r Result) {
	log = log.With("schema", r.Schema)
	s := r.State
	switch {
	case r.Err != nil:
		if cfg.Watch.Duration > 0 || cfg.OnError == ErrorContinue {
			log.Error(explain(r.Err))
		}
		return
	case r.Notice != "":
		log.Warn(r.Notice)
		return
	case r.Status == Pending && s.Table != nil && cfg.Watch.Duration == 0 && cfg.Action != ActionRevert:
		log.Warn("the first migrations of Evolution have not come to every column yet, so the fixes for these are not in place; run this once more after Evolution has started")
	case s.Migrations.Last >= firstChecking && !pads(r.requested) && !s.pads() && cfg.Action != ActionRevert:
		log.Warn("dropping the index is not enough here: from Evolution 2.3.0 on the application itself refuses a key that another instance has; set PATCH_FIXES=auto or apikey-index,apikey-check",
			"evolution", release(s.Migrations.Last))
	case cfg.Fixes.Auto && s.Table != nil && s.Migrations.Last == "" && !pads(r.requested) && cfg.Action != ActionRevert:
		log.Warn("the release of Evolution cannot be read from its table _prisma_migrations, so only the index is dropped; for Evolution 2.3.0 or later set PATCH_FIXES=apikey-index,apikey-check")
	case s.Keys != nil && s.Keys.Full > 0 && cfg.Action != ActionRevert:
		log.Warn("keys that fill their column cannot take the space, so Evolution goes on refusing them to a second instance", "keys", s.Keys.Full)
	}
	for _, f := range r.requested {
		if cfg.Action == ActionStatus && r.Fixes[f.Name] == Unpatched {
			log.Info("the fix is not in place", "fix", f.Name, "found", r.Found[f.Name])
		}
	}
	for _, f := range Fixes {
		if f.Hint != "" && r.Changed && r.Status == Patched && !contains(r.requested, f.Name) && !s.lacks(f) {
			log.Info(f.Hint)
		}
	}
	switch g := s.Guard; {
	case g == nil || s.Table == nil:
	case g.foreign(r.Schema) != "":
		log.Warn(g.foreign(r.Schema))
	case g.Trigger != nil && !g.Trigger.Mine:
		log.Warn("a guard that another role installed is left, and would drop the index once more if it were created again; connect as a superuser to remove it")
	}
}
