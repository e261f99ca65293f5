#!/bin/sh
# Pays for an order once, whatever fails in between. A POSIX shell and curl 7.76 or later.
#
#     pay.sh ORDER AMOUNT CURRENCY SOURCE DESTINATION
#
#     pay.sh order-1234.key 1050 USD acct_alice acct_bob
#
# ORDER is a file of ours that keeps the order's key. PAYONCE_URL says where the daemon is, PAYONCE_API_KEY which API key to
# show, if any. Exits with 0 if it was paid, with 1 if it was not, or not yet.
#
# The one thing to get right: make the key first, keep it with the order, and repeat with it. Run this again after any
# failure, a power cut included: it is the same payment.
set -eu

[ $# = 5 ] || { echo "pay.sh ORDER AMOUNT CURRENCY SOURCE DESTINATION" >&2; exit 1; }
url=${PAYONCE_URL:-http://127.0.0.1:7411}

# The key is made once: before anything is sent, never again after. sync: it is on the disk before we go on.
if [ ! -s "$1" ]; then
    { cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen; } > "$1.tmp"
    sync
    mv "$1.tmp" "$1"
    sync
fi
key=$(cat "$1")
body="{\"amount\":$2,\"currency\":\"$3\",\"source\":\"$4\",\"destination\":\"$5\"}"

# curl itself would repeat only some failures: whatever it was, only the same key may go again.
try=0
while [ $try -lt 10 ]; do
    set -- -sS --max-time 30 -w '\n%{http_code}' -H 'Content-Type: application/json' -H "Idempotency-Key: \"$key\""
    [ -z "${PAYONCE_API_KEY:-}" ] || set -- "$@" -H "Authorization: Bearer $PAYONCE_API_KEY"
    # No answer says nothing about the payment: it is no decline.
    answer=$(curl "$@" -d "$body" "$url/v1/payments") || answer=000
    status=$(echo "$answer" | tail -n 1)
    case $status in
        201)
            echo "$answer" | sed '$d'
            case $answer in *'"state":"succeeded"'* | *'"state":"authorized"'*) exit 0 ;; *) exit 1 ;; esac
            ;;
        202 | 408 | 429 | 5* | 000) ;;
        *) echo "refused: $answer" >&2; exit 1 ;;
    esac
    try=$((try + 1))
    sleep $try
done
echo "not settled yet: run this again, it is the same payment" >&2
exit 1
