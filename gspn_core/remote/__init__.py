"""Workers in other processes and on other machines, by Ray; imported only where they are asked for."""
