package patch

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
)

// line is a Result as it is printed.
type line struct {
	Target    string                 `json:"target"`
	Schema    string                 `json:"schema"`
	State     plan.Status            `json:"state"`
	Changed   *bool                  `json:"changed"` // null where it is not known
	Fixes     map[string]plan.Status `json:"fixes"`
	Evolution string                 `json:"evolution"` // release range, "" if unknown
	Error     string                 `json:"error"`     // "" if none
	Found     map[string]string      `json:"found,omitempty"`
	SQL       []string               `json:"sql,omitempty"`
	Remedy    string                 `json:"remedy,omitempty"` // SQL to execute before another run
}

// newLine returns the line of a Result.
func newLine(r *Result) line {
	l := line{
		Target: r.Target, Schema: r.Schema, State: r.Status, Changed: &r.Changed, Fixes: r.Fixes,
		Evolution: r.Evolution, Found: r.Found, SQL: r.SQL,
	}
	if r.Unknown {
		l.Changed = nil
	}
	if r.Err != nil {
		l.Error = explain(r.Err)
	}
	var refused *plan.RefusedError
	if errors.As(r.Err, &refused) {
		l.Remedy = refused.Remedy
	}
	return l
}

// maxLine is the longest line that is written, in bytes.
const maxLine = 8000

// write returns the line as text or as JSON. What others wrote is cut until the line is short enough. Of SQL whole statements are
// left out, so that what is left of it commits nothing.
func (l line) write(format config.LogFormat) string {
	for most := maxLine; ; most /= 2 {
		cut := l
		cut.Error = postgres.Shorten(l.Error, most)
		cut.Found = maps.Clone(l.Found)
		for name, found := range cut.Found {
			cut.Found[name] = postgres.Shorten(found, most)
		}
		cut.SQL = firstStatements(l.SQL, most)
		if text := cut.encode(format); len(text) <= maxLine || most == 0 {
			return text
		}
	}
}

// firstStatements returns the first of some statements, which together are at most so long, and says how many are left out.
func firstStatements(all []string, most int) []string {
	for i, sql := range all {
		if most -= len(sql); most < 0 {
			return append(slices.Clone(all[:i]), fmt.Sprintf("-- and %d statements more", len(all)-i))
		}
	}
	return all
}

// encode returns the line as text or as JSON.
func (l line) encode(format config.LogFormat) string {
	if format == config.FormatJSON {
		text, _ := json.Marshal(l) // cannot fail: strings, bools, lists and maps of these
		return string(text)
	}
	var b strings.Builder
	l.text(&b)
	return b.String()
}

// text writes the line for people. SQL stands last and unquoted, to be copied.
func (l line) text(b *strings.Builder) {
	changed := "unknown"
	if l.Changed != nil {
		changed = strconv.FormatBool(*l.Changed)
	}
	fmt.Fprintf(b, "%s: %s schema=%s changed=%s", l.State, quoteWord(l.Target), quoteWord(l.Schema), changed)
	for _, f := range plan.Fixes {
		if s, requested := l.Fixes[f.Name]; requested {
			fmt.Fprintf(b, " %s=%s", f.Name, s)
		}
	}
	if l.Evolution != "" {
		fmt.Fprintf(b, " evolution=%s", quoteWord(l.Evolution))
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

// quoteWord quotes what could be taken for more than one word.
func quoteWord(s string) string {
	if s == "" || slices.ContainsFunc([]rune(s), func(r rune) bool { return r == '"' || r == '=' || r == ' ' || !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
