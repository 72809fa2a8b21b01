// Package attack plays the roles that are no superusers: owner, grantee, member and neighbour try to have their code run with the
// rights of the role that connects.
package attack

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
