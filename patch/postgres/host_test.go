package postgres

import (
	"strings"
	"testing"
)

func TestCheckHost(t *testing.T) {
	for _, host := range []string{
		"h", "postgres_postgres", "db-1.example.com", "db.example.com.", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "/run/postgresql", "/cloudsql/project:region:instance",
		"xn--bcher-kva.example", "_tcp.example", strings.Repeat("a", 63) + ".example", "1",
	} {
		if err := CheckHost(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{
		"", ".", "ho!st", "a..b", ".a", "a..", "*", "b\u00fccher.example", "%2Ftmp", "a b", "h:5432", "[::1]", "@socket", "$(HOST)", strings.Repeat("a", 64) + ".example", "h/d", "h\n",
	} {
		if err := CheckHost(host); err == nil {
			t.Errorf("%q is taken", host)
		}
	}
}
