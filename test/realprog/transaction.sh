# sqlite3 in the middle of a transaction, fed through a fifo. Ends with PASS when a file "stop" appears.
mkfifo commands
{
    echo "CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT);"
    echo "INSERT INTO t VALUES (1, 'committed');"
    echo "BEGIN IMMEDIATE;"
    echo "WITH RECURSIVE c(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) INSERT INTO t SELECT n, hex(n) FROM c;"
    echo "SELECT 'READY';"
    while [ ! -e stop ]; do sleep 0.02; done
    echo "INSERT INTO t VALUES (100000, 'afterwards');"
    echo "COMMIT;"
    echo "SELECT CASE WHEN count(*) = 5001 AND sum(n) = 12502500 + 100000 THEN 'PASS' ELSE 'FAIL' END FROM t;"
} > commands &
sqlite3 database < commands
