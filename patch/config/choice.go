package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// Provider is the value of DATABASE_PROVIDER: the kind of database that Evolution was told to use.
type Provider string

func (p *Provider) UnmarshalText(text []byte) error {
	if err := choose(p, text, "postgresql", "psql_bouncer"); err != nil {
		return fmt.Errorf("%w; this program speaks PostgreSQL only", err)
	}
	return nil
}

// Action is the value of PATCH_ACTION: what the program is to do.
type Action string

// The actions, each of which is also an argument of the program.
const (
	ActionApply  Action = "apply"
	ActionStatus Action = "status"
	ActionRevert Action = "revert"
)

// Actions is the list of them.
var Actions = []Action{ActionApply, ActionStatus, ActionRevert}

func (a *Action) UnmarshalText(text []byte) error { return choose(a, text, Actions...) }

// OnMissingTable is the value of PATCH_ON_MISSING_TABLE: what to do where Evolution has not created its table yet.
type OnMissingTable string

// The choices.
const (
	MissingContinue OnMissingTable = "continue"
	MissingWait     OnMissingTable = "wait"
	MissingGuard    OnMissingTable = "guard"
	MissingFail     OnMissingTable = "fail"
)

func (o *OnMissingTable) UnmarshalText(text []byte) error {
	return choose(o, text, MissingContinue, MissingWait, MissingGuard, MissingFail)
}

// OnError is the value of PATCH_ON_ERROR: whether an error makes the exit status non-zero.
type OnError string

// The choices.
const (
	ErrorFail     OnError = "fail"
	ErrorContinue OnError = "continue"
)

func (o *OnError) UnmarshalText(text []byte) error { return choose(o, text, ErrorFail, ErrorContinue) }

// LogFormat is the value of PATCH_LOG_FORMAT, for the log and for the report.
type LogFormat string

// The choices.
const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

func (f *LogFormat) UnmarshalText(text []byte) error { return choose(f, text, FormatText, FormatJSON) }

// LogLevel is the value of PATCH_LOG_LEVEL: the lowest level that is logged. The zero value is info.
type LogLevel struct{ slog.Level }

func (l *LogLevel) UnmarshalText(text []byte) error {
	var word string
	if err := choose(&word, text, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return l.Level.UnmarshalText(text)
}

// Switch is a value that is on or off.
type Switch bool

// UnmarshalText implements encoding.TextUnmarshaler. It takes what strconv.ParseBool takes.
func (s *Switch) UnmarshalText(text []byte) error {
	on, err := strconv.ParseBool(string(text))
	if err != nil {
		return errors.New("is neither true nor false")
	}
	*s = Switch(on)
	return nil
}

// choose sets choice to text if that is one of words. The error does not quote the text, which may be a secret that was
// given to the wrong variable.
func choose[T ~string](choice *T, text []byte, words ...T) error {
	if slices.Contains(words, T(text)) {
		*choice = T(text)
		return nil
	}
	var list []string
	for _, w := range words {
		list = append(list, string(w))
	}
	return errors.New("is not one of " + strings.Join(list, ", "))
}
