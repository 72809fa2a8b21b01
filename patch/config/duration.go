package config

import (
	"errors"
	"regexp"
	"time"
)

// Interval is the value of PATCH_WATCH: the time between two rounds of a watch, 0 for no watch.
type Interval struct{ time.Duration }

func (i *Interval) UnmarshalText(text []byte) (err error) {
	if d, err := time.ParseDuration(string(text)); err == nil && d == 0 {
		return nil
	}
	i.Duration, err = parseDuration(string(text), 100*time.Millisecond, longest, "it must be 0 (off), or from 100ms to 2562047h")
	return err
}

// Limit is how long something goes on: any time from 0, which means no limit or no time at all, as its variable says.
type Limit struct{ time.Duration }

func (l *Limit) UnmarshalText(text []byte) (err error) {
	l.Duration, err = parseDuration(string(text), 0, longest, "it must be from 0s to 2562047h")
	return err
}

// Timeout is a time that PostgreSQL is given as a setting.
type Timeout struct{ time.Duration }

func (t *Timeout) UnmarshalText(text []byte) (err error) {
	t.Duration, err = parseDuration(string(text), time.Millisecond, 2147483647*time.Millisecond,
		"it must be from 1ms to 2147483647ms: the longest timeout that PostgreSQL takes")
	return err
}

// longest is the longest duration that Go has, in whole hours.
const longest = 2562047 * time.Hour

// form matches a duration that is well formed, also one that is too long for Go.
var form = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+$`)

// parseDuration reads a duration between least and most, inclusive; limits says what these are.
func parseDuration(text string, least, most time.Duration, limits string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil && !form.MatchString(text):
		return 0, errors.New("is not a duration; write a number with its unit, such as 250ms, 30s or 2m")
	case err != nil, d > most:
		return 0, errors.New("is too long; " + limits)
	case d < least:
		return 0, errors.New("is too short; " + limits)
	}
	return d, nil
}
