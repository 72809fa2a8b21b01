package patch

import (
	"errors"
	"slices"
	"strings"
)

// Provider is the kind of database that Evolution was told to use.
type Provider string

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Provider) UnmarshalText(text []byte) error {
	err := choose(p, text, "postgresql", "psql_bouncer")
	if err != nil {
		return errors.New(err.Error() + "; this program speaks PostgreSQL only")
	}
	return nil
}

// Action is what the program is to do.
type Action string

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Action) UnmarshalText(text []byte) error {
	return choose(a, text, Actions...)
}

// Actions are the words for PATCH_ACTION, each of which is also an argument.
var Actions = []Action{"apply", "status", "revert"}

// OnMissingTable is what to do where Evolution has not created its table yet.
type OnMissingTable string

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *OnMissingTable) UnmarshalText(text []byte) error {
	return choose(o, text, "continue", "wait", "guard", "fail")
}

// OnError says whether a failure is one of the exit status too.
type OnError string

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *OnError) UnmarshalText(text []byte) error {
	return choose(o, text, "fail", "continue")
}

// LogFormat is the format of the log and of the report.
type LogFormat string

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *LogFormat) UnmarshalText(text []byte) error {
	return choose(f, text, "text", "json")
}

// LogLevel is the least severe level that is logged.
type LogLevel string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LogLevel) UnmarshalText(text []byte) error {
	return choose(l, text, "debug", "info", "warn", "error")
}

// choose sets choice to text if that is one of words. The error does not quote the text, which may be a secret in the
// wrong place.
func choose[T ~string](choice *T, text []byte, words ...T) error {
	if !slices.Contains(words, T(text)) {
		return errors.New("is not one of " + list(words))
	}
	*choice = T(text)
	return nil
}

// list separates words with commas.
func list[T ~string](words []T) string {
	var texts []string
	for _, w := range words {
		texts = append(texts, string(w))
	}
	return strings.Join(texts, ", ")
}
