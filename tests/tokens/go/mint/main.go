package main

import (
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

type claims struct {
	jwt.RegisteredClaims
	Sluice scopes `json:"sluice"`
}

type scopes struct {
	Subscribe []string `json:"subscribe,omitempty"`
	Publish   []string `json:"publish,omitempty"`
}

func tokenFor(user string) (string, error) {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject:   user,
			ID:        rand.Text(),
			IssuedAt:  jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(15 * time.Minute)),
		},
		Sluice: scopes{Subscribe: []string{"orders.*", "user.{sub}"}},
	})
	return token.SignedString([]byte(os.Getenv("SLUICE_TOKEN_SECRET")))
}

func main() {
	token, err := tokenFor(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}
