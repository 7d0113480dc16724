//go:build tools

// Package clients holds the programs below it; go-redis, which the README's Go program runs on, is pinned here.
package clients

import _ "github.com/redis/go-redis/v9"
