module evenkeel

go 1.26

require (
	github.com/iwpnd/sectr v0.1.2
	github.com/mmcloughlin/geohash v0.10.0
	github.com/prometheus/client_golang v1.23.2
	github.com/redis/go-redis/v9 v9.17.3
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.9
	github.com/tidwall/btree v1.8.1
	github.com/tidwall/expr v0.14.0
	github.com/tidwall/geojson v1.4.6
	github.com/tidwall/gjson v1.18.0
	github.com/tidwall/match v1.2.0
	github.com/tidwall/mvt v0.2.1
	github.com/tidwall/pretty v1.2.0
	github.com/tidwall/redcon v1.6.2
	github.com/tidwall/rtree v1.10.0
	github.com/tidwall/sjson v1.2.5
	github.com/yuin/gopher-lua v1.1.1
	github.com/zeebo/xxh3 v1.0.2
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.38.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/dgryski/go-rendezvous v0.0.0-20200823014737-9f7001d12a5f // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/cpuid/v2 v2.0.9 // indirect
	github.com/kr/text v0.2.0 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.66.1 // indirect
	github.com/prometheus/procfs v0.16.1 // indirect
	github.com/tidwall/conv v0.1.0 // indirect
	github.com/tidwall/geoindex v1.7.0 // indirect
	go.yaml.in/yaml/v2 v2.4.2 // indirect
	google.golang.org/protobuf v1.36.8 // indirect
)
