module perigee/bench

go 1.22
