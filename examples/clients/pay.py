#!/usr/bin/env python3
"""Pays for an order once, whatever fails in between. Python 3.8 or later, nothing else.

    pay.py ORDER AMOUNT CURRENCY SOURCE DESTINATION

    pay.py order-1234.json 1050 USD acct_alice acct_bob

ORDER is a file of ours that stands for your database: what is to be paid, and under which key. PAYONCE_URL says where the
daemon is, PAYONCE_API_KEY which API key to show, if any. Exits with 0 if it was paid, with 1 if it was not, or not yet.

The one thing to get right: make the key first, keep it with the order, and repeat with it. Run this again after any
failure, a power cut included: it is the same payment.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get('PAYONCE_URL', 'http://127.0.0.1:7411')
TRIES = 10


def write_down(path, order):
    """All of it, or nothing, and on the disk before we go on."""
    with open(path + '.tmp', 'w') as file:
        json.dump(order, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + '.tmp', path)


def remembered(path, body):
    """The order with its key. The key is made once: before anything is sent, never again after."""
    if os.path.exists(path):
        with open(path) as file:
            return json.load(file)
    order = {'key': str(uuid.uuid4()), 'body': body}
    write_down(path, order)
    return order


def ask(order):
    """One request. Returns the status, the answer and when to ask again."""
    headers = {'Content-Type': 'application/json', 'Idempotency-Key': '"%s"' % order['key']}
    if 'PAYONCE_API_KEY' in os.environ:
        headers['Authorization'] = 'Bearer ' + os.environ['PAYONCE_API_KEY']
    request = urllib.request.Request(URL + '/v1/payments', json.dumps(order['body']).encode(), headers)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        return answer.status, json.loads(answer.read()), float(answer.headers.get('Retry-After', 0))


def pay(order):
    """Repeats until the payment is settled. What failed may have been done: only the same key may go again."""
    for attempt in range(TRIES):
        pause = min(0.2 * 2 ** attempt, 10)
        try:
            status, answer, retry_after = ask(order)
        except (OSError, http.client.HTTPException, ValueError) as error:
            # No answer says nothing about the payment. Never take it for a decline, and never make a new key.
            print('no answer (%s): asking again under the same key' % error, file=sys.stderr)
        else:
            if status == 201:
                return answer
            if status < 500 and status not in (202, 408, 429):
                sys.exit('refused: %s (%s)' % (answer.get('detail'), answer.get('code')))
            pause = max(pause, retry_after)
        time.sleep(pause)
    sys.exit('not settled yet: run this again, it is the same payment')


def main(path, amount, currency, source, destination):
    body = {'amount': int(amount), 'currency': currency, 'source': source, 'destination': destination}
    payment = pay(remembered(path, body))
    print('%s %s' % (payment['state'], payment['id']))
    return 0 if payment['state'] in ('succeeded', 'authorized') else 1


if __name__ == '__main__':
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
