package patch

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
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
}

// Report writes one line for each result, as text or as JSON.
func Report(w io.Writer, results []Result, format LogFormat) error {
	var b strings.Builder
	for _, r := range results {
		l := line{
			Target: r.Target, Schema: r.Schema, State: r.Status, Changed: &r.Changed, Fixes: r.Fixes,
			Evolution: release(r.After.Migrations.Last), Found: r.Found, SQL: r.SQL,
		}
		if r.Unknown {
			l.Changed = nil
		}
		if r.Err != nil {
			l.Error = explain(r.Err)
		}
		if format == "json" {
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
		return fmt.Errorf("%w; what it should have had: %s", err, oneLine(b.String()))
	}
	return nil
}

// text writes the line for people; what it would execute stands last and unquoted, to be copied.
func (l line) text(b *strings.Builder) {
	changed := "unknown"
	if l.Changed != nil {
		changed = strconv.FormatBool(*l.Changed)
	}
	fmt.Fprintf(b, "%s: %s schema=%s changed=%s", l.State, word(l.Target), word(l.Schema), changed)
	for _, f := range Fixes {
		if s, asked := l.Fixes[f.Name]; asked {
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
		sql := "BEGIN; " + strings.Join(l.SQL, "; ") + "; COMMIT;"
		if strings.ContainsFunc(sql, func(r rune) bool { return !unicode.IsPrint(r) }) { // in somebody's name for something
			sql = strconv.QuoteToGraphic(sql)
		}
		b.WriteString(" would run: " + sql)
	}
}

// word quotes what could be taken for more than one word.
func word(s string) string {
	if s == "" || slices.ContainsFunc([]rune(s), func(r rune) bool { return r == '"' || r == '=' || r == ' ' || !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
