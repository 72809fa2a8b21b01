package postgres

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestPasswords(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want []string
	}{
		{"", []string{""}},
		{"plain", []string{"plain"}},
		{"café", []string{"café"}},
		{"cafe\u0301", []string{"café", "cafe\u0301"}},
		{"senha1º", []string{"senha1o", "senha1º"}},
		{"a\u00adb\u00a0c\u200b", []string{"ab c ", "a\u00adb\u00a0c\u200b"}},
		{"\u00ad", []string{"\u00ad"}}, // nothing is left
		{"\xba", []string{"\xba"}},     // not UTF-8
	} {
		target := Target{conn: &pgconn.Config{Password: c.raw}, server: new(server)}
		if got := target.passwords(); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.raw, got, c.want)
		}
		target.server.rawPassword.Store(true)
		slices.Reverse(c.want)
		if got := target.passwords(); !slices.Equal(got, c.want) {
			t.Errorf("%q, after it has worked: %q, want %q", c.raw, got, c.want)
		}
	}
}
