#!/usr/bin/env bash
# Compares servers side by side, in interleaved rounds, by what they do per second of their own CPU time.
#
#   benches/compare.sh ROUNDS PORT=COMMAND PORT=COMMAND...
#   benches/compare.sh 5 "3001=target/release/sockeye bench floor --port 3001" \
#                        "3000=target/release/sockeye --port 3000 --workers 1 --pin off"
#
# Each server runs on core 0 and the load generator on core 1; servers that are not being measured are idle. The order is
# reversed every other round. For each scenario: the median of each server, its range, and its ratio to the first server.
# SOCKEYE names the binary with the load generator, ONLY a pattern of scenarios to run.
set -euo pipefail

sockeye=${SOCKEYE:-target/release/sockeye}
rounds=${1:?rounds}
shift
servers=("$@")

# Name, figure, flags. With a text of 48 bytes a broadcast is about 475 bytes long.
scenarios=(
    "one room of 1,000, 1 in flight|per_cpu_s|broadcast --members 1000 --text-bytes 48"
    "one room of 1,000, 32 in flight|per_cpu_s|broadcast --members 1000 --publishers 32 --in-flight 32 --text-bytes 48"
    "100 rooms of 10, 400 in flight|per_cpu_s|broadcast --rooms 100 --members 10 --publishers 4 --in-flight 400 --text-bytes 48"
    "200 private rooms|per_cpu_s|echo --connections 200 --text-bytes 48"
    "cycles|per_cpu_s|churn"
    "one room of 5,000, 50,000/s: p99 us|p99|broadcast --members 5000 --rate 10 --text-bytes 48"
)

declare -A pids
trap 'kill "${pids[@]}" 2>/dev/null || true' EXIT
for server in "${servers[@]}"; do
    port=${server%%=*}
    # shellcheck disable=SC2086 # the command is meant to be split
    taskset -c 0 ${server#*=} >/dev/null 2>&1 &
    pids[$port]=$!
done
sleep 1

results=$(mktemp -d)
measure() { # PORT INDEX FIGURE FLAGS...
    local port=$1 index=$2 figure=$3
    shift 3
    # The server's figures come after the clients'; the latencies stand before both.
    timeout 120 taskset -c 1 "$sockeye" bench "$@" --json --target "127.0.0.1:$port" --pid "${pids[$port]}" \
        >"$results/report" 2>"$results/log" || tail -n 1 "$results/log" >&2
    grep -o "\"$figure\":[0-9.]*" "$results/report" | tail -n 1 | cut -d : -f 2 >>"$results/$index.$port" || true
}

for ((round = 1; round <= rounds; round++)); do
    ports=("${servers[@]%%=*}")
    if ((round % 2 == 0)); then
        mapfile -t ports < <(printf '%s\n' "${ports[@]}" | tac)
    fi
    for index in "${!scenarios[@]}"; do
        IFS='|' read -r name figure flags <<<"${scenarios[$index]}"
        [[ $name == *${ONLY:-}* ]] || continue
        for port in "${ports[@]}"; do
            echo "round $round of $rounds: $name, port $port" >&2
            # shellcheck disable=SC2086
            measure "$port" "$index" "$figure" $flags
        done
    done
done

for index in "${!scenarios[@]}"; do
    IFS='|' read -r name figure flags <<<"${scenarios[$index]}"
    [[ $name == *${ONLY:-}* ]] || continue
    first=
    for server in "${servers[@]}"; do
        port=${server%%=*}
        sort -g "$results/$index.$port" | awk -v name="$name" -v port="$port" -v first="${first:-0}" '
            { value[NR] = $1 }
            END {
                if (!NR) { printf "%-38s port %-5s no figures\n", name, port; exit }
                median = NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2
                printf "%-38s port %-5s %10.0f  (%.0f to %.0f)  ratio %.3f\n", \
                    name, port, median, value[1], value[NR], first ? median / first : 1
            }' | tee "$results/line"
        first=${first:-$(sed 's/.*port [0-9]* *\([0-9]*\).*/\1/' "$results/line")}
    done
done
rm -r "$results"
